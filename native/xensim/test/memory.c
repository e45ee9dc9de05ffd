/* SPDX-License-Identifier: MIT */
/* Guest memory: foreign mappings, ballooning, types. */
#include "test.h"

#include <sys/mman.h>

static struct dm dm;

static void foreign_pages(void)
{
    dm_open(&dm);
    uint8_t *ram = xensim_ram(host);
    xen_pfn_t gfn[] = {7, 3, 4, 5, 7};
    for (unsigned i = 0; i < 8; i++)
        ram[i * 4096] = (uint8_t)(0x10 + i);
    uint8_t *at = xenforeignmemory_map(dm.memory, 1, PROT_READ | PROT_WRITE, 5, gfn, NULL);
    CHECK(at);
    for (unsigned i = 0; i < 5; i++)
        EQUAL(at[i * 4096], 0x10 + gfn[i]);
    at[4096 + 1] = 0x77;
    EQUAL(ram[3 * 4096 + 1], 0x77);
    EQUAL(xensim_mapped_pages(host), 5);
    EQUAL(xenforeignmemory_unmap(dm.memory, at, 5), 0);
    EQUAL(xensim_mapped_pages(host), 0);
    /* In a place of the caller's choice. */
    void *place = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EQUAL((uintptr_t)xenforeignmemory_map2(dm.memory, 1, place, PROT_READ, MAP_FIXED, 2, gfn, NULL), (uintptr_t)place);
    EQUAL(*(uint8_t *)place, 0x17);
    EQUAL(xenforeignmemory_unmap(dm.memory, place, 2), 0);
    dm_close(&dm);
}

static void errors_are_per_page(void)
{
    dm_open(&dm);
    int err[3] = {9, 9, 9};
    xen_pfn_t gfn[] = {1, TEST_RAM / 4096, 2};
    EQUAL(xensim_vcpu_decrease_reservation(host, 0, 2), 0);
    uint8_t *at = xenforeignmemory_map(dm.memory, 1, PROT_READ, 3, gfn, err);
    CHECK(at);
    EQUAL(err[0], 0);
    EQUAL(err[1], -EINVAL);
    EQUAL(err[2], -EINVAL);
    EQUAL(xenforeignmemory_unmap(dm.memory, at, 3), 0);
    FAILS_NULL(xenforeignmemory_map(dm.memory, 1, PROT_READ, 3, gfn, NULL), EINVAL);
    CHECK(xenforeignmemory_map(dm.memory, 9, PROT_READ, 1, gfn, err));
    EQUAL(err[0], -ESRCH);
    FAILS_NULL(xenforeignmemory_map(dm.memory, 9, PROT_READ, 1, gfn, NULL), ESRCH);
    EQUAL(xensim_mapped_pages(host), 0);
    dm_close(&dm);
}

static void many_pages(void)
{
    enum { PAGES = TEST_RAM / 4096 };
    static xen_pfn_t gfn[6 * PAGES];
    static int err[6 * PAGES];
    dm_open(&dm);
    for (unsigned i = 0; i < 6 * PAGES; i++)
        gfn[i] = i % PAGES;
    uint8_t *at = xenforeignmemory_map(dm.memory, 1, PROT_READ, 6 * PAGES, gfn, err);
    CHECK(at);
    xensim_ram(host)[(PAGES - 1) * 4096u + 5] = 0x5a;
    EQUAL(at[(6 * PAGES - 1) * 4096u + 5], 0x5a);
    EQUAL(xensim_mapped_pages(host), 6 * PAGES);
    xenforeignmemory_unmap(dm.memory, at, 6 * PAGES);
    dm_close(&dm);
}

static int decrease(struct access *a)
{
    return xensim_vcpu_decrease_reservation(host, a->vcpu, a->addr) ? XENSIM_UNHANDLED : XENSIM_HANDLED;
}

static void ballooning(void)
{
    struct access a = {.vcpu = 1, .addr = 8};
    uint64_t data = 0x1234;
    dm_start(&dm, 0);
    xen_pfn_t gfn = 8;
    uint8_t *at = xenforeignmemory_map(dm.memory, 1, PROT_READ, 1, &gfn, NULL);
    CHECK(at);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, true, 0x8000, 4, &data), XENSIM_HANDLED);
    EQUAL(at[0], 0x34);
    start(&a, decrease);
    EQUAL(dm_request(&dm, 1).type, IOREQ_TYPE_INVALIDATE);
    CHECK(blocked(&a));
    dm_answer(&dm, 1, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    FAILS(xensim_vcpu_decrease_reservation(host, 0, 8), EINVAL);
    /* A hole is a device to the guest. */
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, 0x8000, 4, &data), XENSIM_UNHANDLED);
    dm_range(&dm, 1, 0x8000, 0x8fff);
    struct access b;
    start_read(&b, 0, XENSIM_MMIO, 0x7ffe, 4); /* half of it RAM */
    xensim_ram(host)[0x7ffe] = 0xee;
    EQUAL(dm_request(&dm, 0).addr, 0x8000);
    EQUAL(dm.slot[0].size, 2);
    dm_answer(&dm, 0, 0xaabb);
    EQUAL(finish(&b), XENSIM_HANDLED);
    EQUAL(b.data >> 16, 0xaabb);
    /* In again: a new page; who kept the old mapping sees the old one. */
    EQUAL(xensim_populate(host, 8), 0);
    FAILS(xensim_populate(host, 8), EINVAL);
    EQUAL(xensim_ram(host)[0x8000], 0);
    EQUAL(at[0], 0x34);
    xensim_ram(host)[0x8000] = 0x99;
    EQUAL(at[0], 0x34);
    uint8_t *again = xenforeignmemory_map(dm.memory, 1, PROT_READ, 1, &gfn, NULL);
    EQUAL(again[0], 0x99);
    xenforeignmemory_unmap(dm.memory, at, 1);
    xenforeignmemory_unmap(dm.memory, again, 1);
    dm_close(&dm);
}

static void types(void)
{
    uint64_t data = 0;
    struct access a;
    dm_start(&dm, 0);
    dm_range(&dm, 1, 0x4000, 0x4fff);
    EQUAL(xendevicemodel_set_mem_type(dm.model, 1, HVMMEM_ram_ro, 6, 1), 0);
    xensim_ram(host)[0x6000] = 1;
    data = 2;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, true, 0x6000, 1, &data), XENSIM_HANDLED);
    EQUAL(xensim_ram(host)[0x6000], 1); /* dropped */
    EQUAL(xendevicemodel_set_mem_type(dm.model, 1, HVMMEM_mmio_dm, 4, 1), 0);
    start_read(&a, 0, XENSIM_MMIO, 0x4000, 4);
    dm_request(&dm, 0);
    dm_answer(&dm, 0, 3);
    EQUAL(finish(&a), XENSIM_HANDLED);
    FAILS(xendevicemodel_set_mem_type(dm.model, 1, HVMMEM_unused, 6, 1), EINVAL);
    FAILS(xendevicemodel_set_mem_type(dm.model, 1, 5, 6, 1), EINVAL);
    FAILS(xendevicemodel_set_mem_type(dm.model, 1, HVMMEM_ram_rw, 6, 0), EINVAL);
    FAILS(xendevicemodel_set_mem_type(dm.model, 1, HVMMEM_ram_rw, 0xfffff, 2), EINVAL);
    FAILS(xendevicemodel_set_mem_type(dm.model, 1, HVMMEM_ioreq_server, 9, 1), EINVAL);

    /* Pages whose writes go to one server. */
    uint32_t w = XEN_DMOP_IOREQ_MEM_ACCESS_WRITE;
    EQUAL(xendevicemodel_map_mem_type_to_ioreq_server(dm.model, 1, dm.id, HVMMEM_ioreq_server, w), 0);
    FAILS(xendevicemodel_map_mem_type_to_ioreq_server(dm.model, 1, dm.id, HVMMEM_ioreq_server, w), EBUSY);
    EQUAL(xendevicemodel_set_mem_type(dm.model, 1, HVMMEM_ioreq_server, 9, 1), 0);
    xensim_ram(host)[0x9000] = 5;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, 0x9000, 1, &data), XENSIM_HANDLED);
    EQUAL(data, 5);
    start_write(&a, 0, XENSIM_MMIO, 0x9000, 1, 6);
    EQUAL(dm_request(&dm, 0).addr, 0x9000);
    dm_answer(&dm, 0, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(xensim_ram(host)[0x9000], 5);
    EQUAL(xendevicemodel_map_mem_type_to_ioreq_server(dm.model, 1, dm.id, HVMMEM_ioreq_server, 0), 0);
    FAILS(xendevicemodel_map_mem_type_to_ioreq_server(dm.model, 1, dm.id, HVMMEM_ioreq_server, 0), EINVAL);
    data = 7;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, true, 0x9000, 1, &data), XENSIM_HANDLED);
    EQUAL(xensim_ram(host)[0x9000], 7);
    dm_close(&dm);
}

static void relocation(void)
{
    uint64_t data = 0;
    dm_open(&dm);
    xensim_ram(host)[0x7000] = 0x42;
    EQUAL(xendevicemodel_relocate_memory(dm.model, 1, 2, 7, MMIO >> 12), 0);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, MMIO, 1, &data), XENSIM_HANDLED);
    EQUAL(data, 0x42);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, 0x7000, 1, &data), XENSIM_UNHANDLED);
    xen_pfn_t gfn = MMIO >> 12;
    uint8_t *at = xenforeignmemory_map(dm.memory, 1, PROT_READ, 1, &gfn, NULL);
    EQUAL(at[0], 0x42);
    xenforeignmemory_unmap(dm.memory, at, 1);
    EQUAL(xendevicemodel_relocate_memory(dm.model, 1, 2, MMIO >> 12, 7), 0);
    EQUAL(xensim_ram(host)[0x7000], 0x42);
    FAILS(xendevicemodel_relocate_memory(dm.model, 1, 1, MMIO >> 12, 7), EINVAL);
    EQUAL(xendevicemodel_pin_memory_cacheattr(dm.model, 1, 1, 5, 1), 0);
    FAILS(xendevicemodel_pin_memory_cacheattr(dm.model, 1, 3, 9, 1), EBUSY);
    FAILS(xendevicemodel_pin_memory_cacheattr(dm.model, 1, 10, 11, 2), EINVAL);
    EQUAL(xendevicemodel_pin_memory_cacheattr(dm.model, 1, 1, 5, XEN_DMOP_DELETE_MEM_CACHEATTR), 0);
    FAILS(xendevicemodel_pin_memory_cacheattr(dm.model, 1, 1, 5, XEN_DMOP_DELETE_MEM_CACHEATTR), ENOENT);
    dm_close(&dm);
}

static void dirty_pages(void)
{
    uint64_t gfn[8];
    unsigned long bitmap[2] = {0};
    static struct xen_dm_op_modified_memory_extent e[257];
    dm_open(&dm);
    EQUAL(xendevicemodel_modified_memory(dm.model, 1, 0xffffffffff, 1), 0); /* not looked at */
    xensim_log_dirty(host, true);
    EQUAL(xendevicemodel_modified_memory(dm.model, 1, 5, 2), 0);
    e[0].first_pfn = 100;
    e[0].nr = 1;
    EQUAL(xendevicemodel_modified_memory_bulk(dm.model, 1, e, 1), 0);
    EQUAL(xensim_take_dirty(host, gfn, 8), 3);
    EQUAL(gfn[0], 5);
    EQUAL(gfn[2], 100);
    EQUAL(xensim_take_dirty(host, gfn, 8), 0);
    e[0].pad = 1;
    FAILS(xendevicemodel_modified_memory_bulk(dm.model, 1, e, 1), EINVAL);
    FAILS(xendevicemodel_modified_memory(dm.model, 1, 5, 0), EINVAL);
    FAILS(xendevicemodel_modified_memory(dm.model, 1, 0xffffffffff, 1), EINVAL);
    FAILS(xendevicemodel_modified_memory_bulk(dm.model, 1, e, 257), E2BIG);
    EQUAL(xendevicemodel_track_dirty_vram(dm.model, 1, 0, 70, bitmap), 0);
    EQUAL(bitmap[0], UINT64_MAX);
    dm_close(&dm);
}

const struct test memory_tests[] = {
    {"memory: foreign pages", foreign_pages},
    {"memory: errors are per page", errors_are_per_page},
    {"memory: many pages", many_pages},
    {"memory: ballooning", ballooning},
    {"memory: types", types},
    {"memory: relocation", relocation},
    {"memory: dirty pages", dirty_pages},
    {NULL, NULL},
};
