/* SPDX-License-Identifier: MIT */
/* Pausing, stopping, destroying, restricting. */
#include "test.h"

#include <poll.h>
#include <sys/mman.h>

static struct dm dm;
static struct access a;

static void a_paused_domain_waits(void)
{
    dm_start(&dm, 0);
    dm_range(&dm, 1, MMIO, MMIO + 0xfff);
    xensim_pause(host);
    xensim_pause(host); /* not counted */
    start_read(&a, 0, XENSIM_MMIO, MMIO, 4);
    CHECK(blocked(&a));
    EQUAL(slot_state(&dm.slot[0]), STATE_IOREQ_NONE);
    /* Operations that pause and unpause inside do not let it run. */
    ioservid_t id;
    EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, 0, &id), 0);
    CHECK(blocked(&a));
    xensim_unpause(host);
    dm_request(&dm, 0);
    xensim_pause(host);
    dm_answer(&dm, 0, 1);
    CHECK(blocked(&a)); /* answered, and not running */
    xensim_unpause(host);
    EQUAL(finish(&a), XENSIM_HANDLED);
    dm_close(&dm);
}

static void waiting_for_a_server(void)
{
    CHECK(!xensim_wait_server_enabled(host, 0));
    CHECK(!xensim_wait_server_enabled(host, 20));
    dm_start(&dm, 0);
    CHECK(xensim_wait_server_enabled(host, -1));
    dm_close(&dm);
}

static void destroyed(void)
{
    struct xen_ioreq *slot;
    unsigned n;
    ioservid_t id;
    int err;
    xen_pfn_t gfn = 1;
    dm_start(&dm, 2);
    dm_range(&dm, 1, MMIO, MMIO + 0xfff);
    void *page = xenforeignmemory_map(dm.memory, 1, PROT_READ, 1, &gfn, NULL);
    CHECK(page);
    start_read(&a, 0, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 0);
    xensim_destroy_domain(host);
    EQUAL(finish(&a), XENSIM_STOPPED);
    FAILS(xendevicemodel_nr_vcpus(dm.model, 1, &n), ESRCH);
    FAILS(xendevicemodel_create_ioreq_server(dm.model, 1, 0, &id), ESRCH);
    FAILS(xenevtchn_bind_interdomain(dm.evtchn, 1, 3), ESRCH);
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[0]), 0);
    CHECK(xenforeignmemory_map(dm.memory, 1, PROT_READ, 1, &gfn, &err));
    EQUAL(err, -ESRCH);
    uint64_t data;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, MMIO, 4, &data), XENSIM_STOPPED);
    /* A zombie until we let go of its pages. */
    EQUAL(xensim_mapped_pages(host), 3);
    slot = dm.slot;
    slot[0].data = 1; /* still there to touch */
    xenforeignmemory_unmap(dm.memory, page, 1);
    EQUAL(xensim_mapped_pages(host), 2);
    dm_close(&dm);
    EQUAL(xensim_mapped_pages(host), 0);
    EQUAL(counters().servers, 0);
}

static void stopped(void)
{
    dm_start(&dm, 0);
    dm_range(&dm, 1, MMIO, MMIO + 0xfff);
    start_read(&a, 0, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 0);
    xensim_stop(host);
    EQUAL(finish(&a), XENSIM_STOPPED);
    unsigned n;
    FAILS(xendevicemodel_nr_vcpus(dm.model, 1, &n), ESRCH);
    struct pollfd p = {.fd = xenevtchn_fd(dm.evtchn), .events = POLLIN};
    EQUAL(poll(&p, 1, 1000), 1);
    CHECK(p.revents & POLLHUP);
    EQUAL(counters().clients, 0);
    dm_close(&dm);
    FAILS_NULL(xendevicemodel_open(NULL, 0), ENOENT);
}

static void shut_down_by_the_device_model(void)
{
    dm_start(&dm, 0);
    EQUAL(xensim_shutdown_code(host), -1);
    EQUAL(xendevicemodel_shutdown(dm.model, 1, 1), 0);
    EQUAL(xensim_shutdown_code(host), 1);
    uint64_t data;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, MMIO, 4, &data), XENSIM_STOPPED);
    dm_close(&dm);
}

static void restricted_to_one_domain(void)
{
    xendevicemodel_handle *later;
    unsigned n;
    xen_pfn_t gfn = 1;
    dm_start(&dm, 0);
    EQUAL(xentoolcore_restrict_all(1), 0);
    FAILS(xendevicemodel_nr_vcpus(dm.model, 0, &n), EPERM);
    FAILS(xendevicemodel_nr_vcpus(dm.model, 2, &n), EPERM);
    EQUAL(xendevicemodel_nr_vcpus(dm.model, 1, &n), 0);
    FAILS_NULL(xenforeignmemory_map(dm.memory, 2, PROT_READ, 1, &gfn, NULL), EPERM);
    void *page = xenforeignmemory_map(dm.memory, 1, PROT_READ, 1, &gfn, NULL);
    CHECK(page);
    xenforeignmemory_unmap(dm.memory, page, 1);
    dm_range(&dm, 1, MMIO, MMIO + 0xfff);
    EQUAL(xendevicemodel_inject_msi(dm.model, 1, 0xfee00000, 0x41), 0);
    EQUAL(xenevtchn_unbind(dm.evtchn, dm.port[0]), 0);
    CHECK(xenevtchn_bind_interdomain(dm.evtchn, 1, dm.slot[0].vp_eport) > 0);
    FAILS(xendevicemodel_restrict(dm.model, 2), EINVAL);
    EQUAL(xendevicemodel_restrict(dm.model, 1), 0);
    /* What is opened afterwards is free. */
    CHECK((later = xendevicemodel_open(NULL, 0)));
    FAILS(xendevicemodel_nr_vcpus(later, 2, &n), ESRCH);
    xendevicemodel_close(later);
    dm_close(&dm);
}

static void starting_twice(void)
{
    struct xensim *second = NULL;
    struct xensim_config config = {.socket_path = socket_path, .vcpus = 1, .memory = 4096};
    FAILS(xensim_start(&config, &second), EADDRINUSE);
    config.vcpus = 129;
    FAILS(xensim_start(&config, &second), EINVAL);
    config.vcpus = 1;
    config.memory = 100;
    FAILS(xensim_start(&config, &second), EINVAL);
    config.memory = 4096;
    config.socket_path = "/nonexistent/directory/socket";
    FAILS(xensim_start(&config, &second), ENOENT);
    CHECK(!second);
    dm_open(&dm); /* the first still serves */
    EQUAL(counters().clients, 3);
    dm_close(&dm);
}

const struct test life_tests[] = {
    {"life: a paused domain waits", a_paused_domain_waits},
    {"life: waiting for a server", waiting_for_a_server},
    {"life: destroyed", destroyed},
    {"life: stopped", stopped},
    {"life: shut down by the device model", shut_down_by_the_device_model},
    {"life: restricted to one domain", restricted_to_one_domain},
    {"life: starting twice", starting_twice},
    {NULL, NULL},
};
