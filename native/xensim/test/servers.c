/* SPDX-License-Identifier: MIT */
/* Ioreq servers as dm ops see them: ids, ranges, pages, errors. */
#include "test.h"

#include <sys/mman.h>

static int raw_dm_op(struct dmop *op, domid_t domid, size_t size)
{
    struct client c;
    CHECK(!client_open(&c, WIRE_DEVICEMODEL));
    struct client_call call = {
        .request = {.op = WIRE_DM_OP, .domid = domid, .a = size, .c = 1},
        .in = {op}, .in_length = {size}, .out = {op}, .out_length = {size},
    };
    int rc = client_call(&c, &call);
    client_close(&c);
    return rc;
}

static void ids_are_the_lowest_free_and_there_are_eight(void)
{
    struct dm dm;
    dm_open(&dm);
    ioservid_t id = 99;
    for (unsigned i = 0; i < 8; i++) {
        EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, HVM_IOREQSRV_BUFIOREQ_OFF, &id), 0);
        EQUAL(id, i);
    }
    FAILS(xendevicemodel_create_ioreq_server(dm.model, 1, 0, &id), ENOSPC);
    EQUAL(xendevicemodel_destroy_ioreq_server(dm.model, 1, 2), 0);
    EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, 0, &id), 0);
    EQUAL(id, 2);
    EQUAL(counters().servers, 8);
    dm_close(&dm);
    EQUAL(counters().servers, 8); /* they belong to dom0, not to the handle */
}

static void errors_of_dm_ops(void)
{
    struct dm dm;
    dm_start(&dm, 2);
    ioservid_t id;
    evtchn_port_t port;
    FAILS(xendevicemodel_create_ioreq_server(dm.model, 1, 3, &id), EINVAL);
    FAILS(xendevicemodel_create_ioreq_server(dm.model, 2, 0, &id), ESRCH);
    FAILS(xendevicemodel_create_ioreq_server(dm.model, 0, 0, &id), EPERM);
    FAILS(xendevicemodel_destroy_ioreq_server(dm.model, 1, 5), ENOENT);
    FAILS(xendevicemodel_set_ioreq_server_state(dm.model, 1, 9, 1), ENOENT);
    FAILS(xendevicemodel_get_ioreq_server_info(dm.model, 1, 1, NULL, NULL, &port), ENOENT);
    FAILS(xendevicemodel_map_io_range_to_ioreq_server(dm.model, 1, 7, 1, 0, 1), ENOENT);
    FAILS(xendevicemodel_map_io_range_to_ioreq_server(dm.model, 1, 7, 1, 2, 1), EINVAL);
    FAILS(xendevicemodel_map_pcidev_to_ioreq_server(dm.model, 1, dm.id, 0, 0, 32, 0), EINVAL);
    FAILS(xendevicemodel_map_mem_type_to_ioreq_server(dm.model, 1, dm.id, HVMMEM_ram_rw, 0), EINVAL);
    FAILS(xendevicemodel_set_irq_level(dm.model, 1, 40, 1), EOPNOTSUPP);

    struct dmop op = {.op = 21};
    FAILS(raw_dm_op(&op, 1, sizeof op), EOPNOTSUPP);
    op = (struct dmop){.op = XEN_DMOP_nr_vcpus, .pad = 1};
    FAILS(raw_dm_op(&op, 1, sizeof op), EINVAL);
    op = (struct dmop){.op = XEN_DMOP_nr_vcpus};
    FAILS(raw_dm_op(&op, 1, 8), EFAULT);
    op = (struct dmop){.op = XEN_DMOP_create_ioreq_server, .u.create_ioreq_server.pad = {0, 1}};
    FAILS(raw_dm_op(&op, 1, sizeof op), EINVAL);
    op = (struct dmop){.op = XEN_DMOP_get_ioreq_server_info, .u.get_ioreq_server_info.flags = 2};
    FAILS(raw_dm_op(&op, 1, sizeof op), EINVAL);
    op = (struct dmop){.op = XEN_DMOP_map_io_range_to_ioreq_server, .u.ioreq_server_range.pad = 1};
    FAILS(raw_dm_op(&op, 1, sizeof op), EINVAL);
    op = (struct dmop){.op = XEN_DMOP_map_io_range_to_ioreq_server, .u.ioreq_server_range.type = 3};
    FAILS(raw_dm_op(&op, 1, sizeof op), EINVAL);
    op = (struct dmop){.op = XEN_DMOP_set_ioreq_server_state, .u.set_ioreq_server_state.pad = 1};
    FAILS(raw_dm_op(&op, 1, sizeof op), EINVAL);
    op = (struct dmop){.op = XEN_DMOP_destroy_ioreq_server, .u.destroy_ioreq_server.pad = 1};
    FAILS(raw_dm_op(&op, 1, sizeof op), EINVAL);
    CHECK(counters().dm_op_errors >= 18);
    dm_close(&dm);
}

static void ranges_merge_and_split(void)
{
    struct dm dm;
    struct xensim_range r[4];
    dm_open(&dm);
    EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, 0, &dm.id), 0);
    dm_range(&dm, 1, 0x1000, 0x1fff);
    dm_range(&dm, 1, 0x2000, 0x2fff);
    EQUAL(xensim_ranges(host, dm.id, r, 4), 1);
    EQUAL(r[0].start, 0x1000);
    EQUAL(r[0].end, 0x2fff);
    FAILS(xendevicemodel_map_io_range_to_ioreq_server(dm.model, 1, dm.id, 1, 0x2fff, 0x4000), EEXIST);
    EQUAL(xendevicemodel_unmap_io_range_from_ioreq_server(dm.model, 1, dm.id, 1, 0x1800, 0x18ff), 0);
    EQUAL(xensim_ranges(host, dm.id, r, 4), 2);
    EQUAL(r[0].end, 0x17ff);
    EQUAL(r[1].start, 0x1900);
    FAILS(xendevicemodel_unmap_io_range_from_ioreq_server(dm.model, 1, dm.id, 1, 0x17ff, 0x1900), ENOENT);
    dm_range(&dm, 1, 0x1800, 0x18ff); /* fills the hole, all one again */
    EQUAL(xensim_ranges(host, dm.id, r, 4), 1);
    /* The same numbers are another matter in another space. */
    dm_range(&dm, 0, 0x1000, 0x1fff);
    EQUAL(xendevicemodel_map_pcidev_to_ioreq_server(dm.model, 1, dm.id, 0, 0, 3, 0), 0);
    FAILS(xendevicemodel_map_pcidev_to_ioreq_server(dm.model, 1, dm.id, 0, 0, 3, 0), EEXIST);
    EQUAL(xendevicemodel_unmap_pcidev_from_ioreq_server(dm.model, 1, dm.id, 0, 0, 3, 0), 0);
    FAILS(xendevicemodel_unmap_pcidev_from_ioreq_server(dm.model, 1, dm.id, 0, 0, 3, 0), ENOENT);
    EQUAL(counters().ranges, 2);
    dm_range(&dm, 1, UINT64_MAX - 4095, UINT64_MAX);
    EQUAL(xendevicemodel_unmap_io_range_from_ioreq_server(dm.model, 1, dm.id, 1, UINT64_MAX, UINT64_MAX), 0);
    dm_close(&dm);
}

static void there_are_256_ranges_of_a_type(void)
{
    struct dm dm;
    dm_open(&dm);
    EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, 0, &dm.id), 0);
    for (uint64_t i = 0; i < 256; i++)
        dm_range(&dm, 1, i * 0x2000, i * 0x2000 + 0xfff);
    FAILS(xendevicemodel_map_io_range_to_ioreq_server(dm.model, 1, dm.id, 1, 0x900000, 0x900fff), ENOMEM);
    FAILS(xendevicemodel_unmap_io_range_from_ioreq_server(dm.model, 1, dm.id, 1, 0x10, 0x20), ENOMEM);
    dm_range(&dm, 1, 0x1000, 0x1fff); /* joins two: one fewer */
    dm_range(&dm, 1, 0x900000, 0x900fff);
    dm_range(&dm, 0, 0x10, 0x1f); /* each type has its own */
    EQUAL(counters().ranges, 257);
    dm_close(&dm);
}

static void pages_as_a_resource(void)
{
    struct dm dm, off;
    size_t size = 0;
    void *at = NULL;
    dm_start(&dm, 2);
    EQUAL(xenforeignmemory_resource_size(dm.memory, 1, 0, dm.id, &size), 0);
    EQUAL(size, 8192);
    FAILS(xenforeignmemory_resource_size(dm.memory, 1, 7, dm.id, &size), EINVAL);
    FAILS(xenforeignmemory_resource_size(dm.memory, 3, 0, dm.id, &size), ESRCH);
    FAILS_NULL(xenforeignmemory_map_resource(dm.memory, 1, 0, 4, 0, 1, &at, PROT_READ, 0), ENOENT);
    FAILS_NULL(xenforeignmemory_map_resource(dm.memory, 1, 0, dm.id, 2, 1, &at, PROT_READ, 0), EINVAL);
    FAILS_NULL(xenforeignmemory_map_resource(dm.memory, 1, 0, dm.id, 1, 2, &at, PROT_READ, 0), EINVAL);
    FAILS_NULL(xenforeignmemory_map_resource(dm.memory, 1, 0, dm.id, 1, 1, &at, PROT_READ, MAP_FIXED), EINVAL);
    FAILS_NULL(xenforeignmemory_map_resource(dm.memory, 1, 0, 0x10000, 1, 1, &at, PROT_READ, 0), EINVAL);
    /* Mapping again gives the same page. */
    xenforeignmemory_resource_handle *again =
        xenforeignmemory_map_resource(dm.memory, 1, 0, dm.id, 1, 1, &at, PROT_READ, 0);
    CHECK(again);
    EQUAL(((struct xen_ioreq *)at)[3].vp_eport, dm.slot[3].vp_eport);
    EQUAL(xenforeignmemory_unmap_resource(dm.memory, again), 0);
    /* Gfns are not given of pages that were given as a resource. */
    xen_pfn_t gfn;
    FAILS(xendevicemodel_get_ioreq_server_info(dm.model, 1, dm.id, &gfn, NULL, NULL), EPERM);

    dm_start(&off, 0);
    at = NULL;
    FAILS_NULL(xenforeignmemory_map_resource(off.memory, 1, 0, off.id, 0, 2, &at, PROT_READ, 0), ENOENT);
    evtchn_port_t port = 1;
    EQUAL(xendevicemodel_get_ioreq_server_info(off.model, 1, off.id, NULL, NULL, &port), 0);
    EQUAL(port, 0);
    dm_close(&off);
    dm_close(&dm);
}

static void pages_by_gfn(void)
{
    struct dm dm;
    xen_pfn_t gfn[2];
    evtchn_port_t port;
    int err[2];
    dm_open(&dm);
    EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, 1, &dm.id), 0);
    EQUAL(xendevicemodel_get_ioreq_server_info(dm.model, 1, dm.id, &gfn[0], &gfn[1], &port), 0);
    CHECK(gfn[0] != gfn[1] && port);
    uint8_t *at = xenforeignmemory_map(dm.memory, 1, PROT_READ | PROT_WRITE, 2, gfn, err);
    CHECK(at && !err[0] && !err[1]);
    at[100] = 1;
    EQUAL(xendevicemodel_set_ioreq_server_state(dm.model, 1, dm.id, 1), 0);
    EQUAL(at[100], 0); /* out of the guest's sight and cleared */
    FAILS_NULL(xenforeignmemory_map(dm.memory, 1, PROT_READ, 2, gfn, NULL), EINVAL);
    void *resource = NULL;
    FAILS_NULL(xenforeignmemory_map_resource(dm.memory, 1, 0, dm.id, 0, 2, &resource, PROT_READ, 0), EPERM);
    dm.slot = (void *)at;
    dm.ring = (void *)(at + 4096);
    dm_bind(&dm);
    dm_range(&dm, 0, 0x80, 0x80);
    struct access a;
    start_read(&a, 0, XENSIM_PIO, 0x80, 1);
    dm_request(&dm, 0);
    dm_answer(&dm, 0, 0x12);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 0x12);
    EQUAL(xendevicemodel_destroy_ioreq_server(dm.model, 1, dm.id), 0);
    EQUAL(xenforeignmemory_unmap(dm.memory, at, 2), 0);
    dm_close(&dm);
}

static void ports_are_published_by_enabling(void)
{
    struct dm dm;
    dm_open(&dm);
    EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, 0, &dm.id), 0);
    dm_map(&dm, 0);
    EQUAL(dm.slot[0].vp_eport, 0);
    EQUAL(xendevicemodel_set_ioreq_server_state(dm.model, 1, dm.id, 1), 0);
    CHECK(dm.slot[0].vp_eport && dm.slot[1].vp_eport == dm.slot[0].vp_eport + 1);
    dm_close(&dm);

    /* Mapped too late: there was no page to publish them in. */
    struct dm late;
    dm_open(&late);
    EQUAL(xendevicemodel_create_ioreq_server(late.model, 1, 0, &late.id), 0);
    EQUAL(xendevicemodel_set_ioreq_server_state(late.model, 1, late.id, 1), 0);
    dm_map(&late, 0);
    EQUAL(late.slot[0].vp_eport, 0);
    FAILS(xenevtchn_bind_interdomain(late.evtchn, 1, 0), EINVAL);
    dm_range(&late, 1, MMIO, MMIO + 0xfff);
    uint64_t data = 0;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, MMIO, 4, &data), XENSIM_UNHANDLED);
    CHECK(console_has("device model set bad event channel 0"));
    dm_close(&late);
}

static void the_newest_enabled_server_wins(void)
{
    struct dm old, new;
    struct access a;
    dm_start(&old, 0);
    dm_start(&new, 0);
    dm_range(&old, 1, MMIO, MMIO + 0x1fff);
    dm_range(&new, 1, MMIO + 0x1000, MMIO + 0x1fff);

    start_read(&a, 0, XENSIM_MMIO, MMIO + 0x1000, 4);
    dm_request(&new, 0);
    dm_answer(&new, 0, 2);
    EQUAL(finish(&a), XENSIM_HANDLED);

    start_read(&a, 0, XENSIM_MMIO, MMIO + 0xff8, 8);
    dm_request(&old, 0);
    dm_answer(&old, 0, 1);
    EQUAL(finish(&a), XENSIM_HANDLED);

    EQUAL(xendevicemodel_set_ioreq_server_state(new.model, 1, new.id, 0), 0);
    start_read(&a, 1, XENSIM_MMIO, MMIO + 0x1000, 4);
    dm_request(&old, 1);
    dm_answer(&old, 1, 3);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 3);

    /* "Newer" is the higher id: a server made after a destroy may be older than the others. */
    EQUAL(xendevicemodel_set_ioreq_server_state(new.model, 1, new.id, 1), 0);
    EQUAL(xendevicemodel_destroy_ioreq_server(old.model, 1, old.id), 0);
    dm_close(&old);
    dm_start(&old, 0);
    EQUAL(old.id, 0);
    dm_range(&old, 1, MMIO, MMIO + 0x1fff);
    start_read(&a, 0, XENSIM_MMIO, MMIO + 0x1000, 4);
    dm_request(&new, 0);
    dm_answer(&new, 0, 4);
    EQUAL(finish(&a), XENSIM_HANDLED);
    dm_close(&new);
    dm_close(&old);
}

const struct test server_tests[] = {
    {"servers: ids are the lowest free and there are eight", ids_are_the_lowest_free_and_there_are_eight},
    {"servers: errors of dm ops", errors_of_dm_ops},
    {"servers: ranges merge and split", ranges_merge_and_split},
    {"servers: there are 256 ranges of a type", there_are_256_ranges_of_a_type},
    {"servers: pages as a resource", pages_as_a_resource},
    {"servers: pages by gfn", pages_by_gfn},
    {"servers: ports are published by enabling", ports_are_published_by_enabling},
    {"servers: the newest enabled server wins", the_newest_enabled_server_wins},
    {NULL, NULL},
};
