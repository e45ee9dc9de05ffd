/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <poll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define A_WHILE_MS 30

uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void sleep_ms(unsigned ms)
{
    usleep(ms * 1000);
}

bool console_has(const char *text)
{
    static char buffer[70000];
    xensim_console(host, buffer, sizeof buffer);
    return strstr(buffer, text) != NULL;
}

struct xensim_counters counters(void)
{
    struct xensim_counters c;
    xensim_get_counters(host, &c);
    return c;
}

void dm_open(struct dm *dm)
{
    memset(dm, 0, sizeof *dm);
    CHECK((dm->model = xendevicemodel_open(NULL, 0)));
    CHECK((dm->memory = xenforeignmemory_open(NULL, 0)));
    CHECK((dm->evtchn = xenevtchn_open(NULL, 0)));
}

void dm_close(struct dm *dm)
{
    if (dm->resource)
        EQUAL(xenforeignmemory_unmap_resource(dm->memory, dm->resource), 0);
    EQUAL(xenevtchn_close(dm->evtchn), 0);
    EQUAL(xenforeignmemory_close(dm->memory), 0);
    EQUAL(xendevicemodel_close(dm->model), 0);
}

void dm_map(struct dm *dm, int bufioreq)
{
    unsigned long first = bufioreq ? 0 : 1;
    void *at = NULL;
    dm->resource = xenforeignmemory_map_resource(dm->memory, XENSIM_DOMID, XENMEM_resource_ioreq_server,
                                                 dm->id, first, 2 - first, &at,
                                                 PROT_READ | PROT_WRITE, 0);
    CHECK(dm->resource);
    dm->ring = bufioreq ? at : NULL;
    dm->slot = (void *)((char *)at + (bufioreq ? XEN_PAGE_SIZE : 0));
}

void dm_bind(struct dm *dm)
{
    unsigned vcpus;
    EQUAL(xendevicemodel_nr_vcpus(dm->model, XENSIM_DOMID, &vcpus), 0);
    for (unsigned i = 0; i < vcpus; i++) {
        int port = xenevtchn_bind_interdomain(dm->evtchn, XENSIM_DOMID, dm->slot[i].vp_eport);
        CHECK(port > 0);
        dm->port[i] = (evtchn_port_t)port;
        EQUAL(dm_event(dm, PATIENCE_MS), port);
        EQUAL(xenevtchn_unmask(dm->evtchn, dm->port[i]), 0);
    }
    if (!dm->ring)
        return;
    evtchn_port_t remote;
    EQUAL(xendevicemodel_get_ioreq_server_info(dm->model, XENSIM_DOMID, dm->id, NULL, NULL, &remote), 0);
    int port = xenevtchn_bind_interdomain(dm->evtchn, XENSIM_DOMID, remote);
    CHECK(port > 0);
    dm->ring_port = (evtchn_port_t)port;
    EQUAL(dm_event(dm, PATIENCE_MS), port);
    EQUAL(xenevtchn_unmask(dm->evtchn, dm->ring_port), 0);
}

void dm_start(struct dm *dm, int bufioreq)
{
    dm_open(dm);
    EQUAL(xendevicemodel_create_ioreq_server(dm->model, XENSIM_DOMID, bufioreq, &dm->id), 0);
    dm_map(dm, bufioreq);
    EQUAL(xendevicemodel_set_ioreq_server_state(dm->model, XENSIM_DOMID, dm->id, 1), 0);
    dm_bind(dm);
}

void dm_range(struct dm *dm, int is_mmio, uint64_t start_at, uint64_t end)
{
    EQUAL(xendevicemodel_map_io_range_to_ioreq_server(dm->model, XENSIM_DOMID, dm->id, is_mmio,
                                                      start_at, end), 0);
}

evtchn_port_t dm_event(struct dm *dm, int timeout_ms)
{
    struct pollfd p = {.fd = xenevtchn_fd(dm->evtchn), .events = POLLIN};
    if (poll(&p, 1, timeout_ms) != 1)
        return 0;
    int port = xenevtchn_pending(dm->evtchn);
    CHECK(port > 0);
    return (evtchn_port_t)port;
}

uint8_t slot_state(const struct xen_ioreq *slot)
{
    return __atomic_load_n(&slot->state_flags, __ATOMIC_ACQUIRE) & IOREQ_STATE_MASK;
}

void set_state(struct xen_ioreq *slot, uint8_t state)
{
    uint8_t flags = slot->state_flags & ~IOREQ_STATE_MASK;
    __atomic_store_n(&slot->state_flags, flags | state, __ATOMIC_SEQ_CST);
}

struct xen_ioreq dm_request(struct dm *dm, unsigned vcpu)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    while (slot_state(&dm->slot[vcpu]) != STATE_IOREQ_READY) {
        if (now_ms() > until)
            test_fail(__FILE__, __LINE__, "no request from vCPU %u", vcpu);
        usleep(100);
    }
    return dm->slot[vcpu];
}

void dm_answer(struct dm *dm, unsigned vcpu, uint64_t data)
{
    set_state(&dm->slot[vcpu], STATE_IOREQ_INPROCESS);
    dm->slot[vcpu].data = data;
    set_state(&dm->slot[vcpu], STATE_IORESP_READY);
    EQUAL(xenevtchn_notify(dm->evtchn, dm->port[vcpu]), 0);
}

static void *access_main(void *arg)
{
    struct access *a = arg;
    a->result = (enum xensim_result)a->run(a);
    a->finished = true;
    return NULL;
}

void start(struct access *a, int (*run)(struct access *))
{
    a->run = run;
    a->finished = false;
    CHECK(!pthread_create(&a->thread, NULL, access_main, a));
}

static int plain(struct access *a)
{
    return xensim_vcpu_access(host, a->vcpu, a->space, a->write, a->addr, a->width, &a->data);
}

void start_read(struct access *a, unsigned vcpu, enum xensim_space space, uint64_t addr, unsigned width)
{
    *a = (struct access){.vcpu = vcpu, .space = space, .addr = addr, .width = width};
    start(a, plain);
}

void start_write(struct access *a, unsigned vcpu, enum xensim_space space, uint64_t addr,
                 unsigned width, uint64_t data)
{
    *a = (struct access){
        .vcpu = vcpu, .space = space, .write = true, .addr = addr, .width = width, .data = data};
    start(a, plain);
}

enum xensim_result finish(struct access *a)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    while (!a->finished && now_ms() < until)
        usleep(50);
    if (!a->finished)
        test_fail(__FILE__, __LINE__, "the access does not end");
    pthread_join(a->thread, NULL);
    return a->result;
}

bool blocked(struct access *a)
{
    sleep_ms(A_WHILE_MS);
    return !a->finished;
}
