/* SPDX-License-Identifier: MIT */
/* Event channels: binding, masking, the descriptor. */
#include "test.h"

#include <poll.h>
#include <unistd.h>

#define REMOTE(dm, vcpu) ((dm)->slot[vcpu].vp_eport)

static void one_binding_at_a_time(void)
{
    struct dm dm;
    dm_start(&dm, 0);
    xenevtchn_handle *other = xenevtchn_open(NULL, 0);
    CHECK(other);
    FAILS(xenevtchn_bind_interdomain(other, 1, REMOTE(&dm, 0)), EINVAL);
    FAILS(xenevtchn_bind_interdomain(dm.evtchn, 1, REMOTE(&dm, 0)), EINVAL);
    FAILS(xenevtchn_bind_interdomain(other, 1, 0), EINVAL);
    FAILS(xenevtchn_bind_interdomain(other, 1, 1), EINVAL); /* xenstore's */
    FAILS(xenevtchn_bind_interdomain(other, 1, 2000), EINVAL);
    FAILS(xenevtchn_bind_interdomain(other, 1, 1u << 30), EINVAL);
    FAILS(xenevtchn_bind_interdomain(other, 0, 1), EINVAL);
    FAILS(xenevtchn_bind_interdomain(other, 9, 3), ESRCH);
    /* Unbound again, it can be bound by anyone, and the local number is free again. */
    EQUAL(xenevtchn_unbind(dm.evtchn, dm.port[0]), 0);
    FAILS(xenevtchn_unbind(dm.evtchn, dm.port[0]), ENOTCONN);
    EQUAL(xenevtchn_bind_interdomain(other, 1, REMOTE(&dm, 0)), dm.port[0]);
    FAILS(xenevtchn_notify(dm.evtchn, dm.port[0]), ENOTCONN);
    EQUAL(xenevtchn_notify(other, dm.port[0]), 0);
    EQUAL(xenevtchn_close(other), 0);
    CHECK(xenevtchn_bind_interdomain(dm.evtchn, 1, REMOTE(&dm, 0)) > 0);
    FAILS_NULL(xenevtchn_open(NULL, 4), EINVAL);
    dm_close(&dm);
}

/* Delivered once, then masked; what comes meanwhile is one event after the unmasking. */
static void delivery_masks(void)
{
    struct dm dm;
    dm_start(&dm, 2);
    struct xen_ioreq p = {.type = IOREQ_TYPE_COPY, .addr = 0xa0000, .size = 1, .count = 1};
    for (unsigned i = 0; i < 3; i++)
        EQUAL(xensim_raw_buffered(host, &p), XENSIM_HANDLED);
    EQUAL(dm_event(&dm, 1000), dm.ring_port);
    EQUAL(dm_event(&dm, 20), 0);
    EQUAL(xenevtchn_unmask(dm.evtchn, dm.ring_port), 0);
    EQUAL(dm_event(&dm, 1000), dm.ring_port);
    EQUAL(xenevtchn_unmask(dm.evtchn, dm.ring_port), 0);
    EQUAL(dm_event(&dm, 20), 0);
    dm_close(&dm);
}

static void the_descriptor_reads_and_writes_ports(void)
{
    struct dm dm;
    dm_open(&dm);
    EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, 2, &dm.id), 0);
    dm_map(&dm, 2);
    EQUAL(xendevicemodel_set_ioreq_server_state(dm.model, 1, dm.id, 1), 0);
    int a = xenevtchn_bind_interdomain(dm.evtchn, 1, REMOTE(&dm, 0));
    int b = xenevtchn_bind_interdomain(dm.evtchn, 1, REMOTE(&dm, 1));
    evtchn_port_t got[16];
    EQUAL(read(xenevtchn_fd(dm.evtchn), got, sizeof got), 8);
    EQUAL(got[0], a);
    EQUAL(got[1], b);
    /* Masked: a request does not show. */
    dm_range(&dm, 1, MMIO, MMIO + 0xfff);
    struct access access;
    start_read(&access, 0, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 0);
    struct pollfd p = {.fd = xenevtchn_fd(dm.evtchn), .events = POLLIN};
    EQUAL(poll(&p, 1, 20), 0);
    got[2] = 4000; /* not ours: ignored */
    EQUAL(write(xenevtchn_fd(dm.evtchn), got, 12), 12);
    EQUAL(dm_event(&dm, 1000), a);
    EQUAL(dm_event(&dm, 20), 0);
    dm.port[0] = (evtchn_port_t)a;
    dm_answer(&dm, 0, 5);
    EQUAL(finish(&access), XENSIM_HANDLED);
    dm_close(&dm);
}

static void xens_ends_are_reused(void)
{
    struct dm dm;
    dm_start(&dm, 2);
    evtchn_port_t first = REMOTE(&dm, 0);
    EQUAL(REMOTE(&dm, 1), first + 2); /* the ring's port comes after vCPU 0's */
    EQUAL(xendevicemodel_destroy_ioreq_server(dm.model, 1, dm.id), 0);
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[0]), 0); /* dropped without a word */
    FAILS(xenevtchn_bind_interdomain(dm.evtchn, 1, first), EINVAL);
    dm_close(&dm);
    dm_start(&dm, 0);
    EQUAL(REMOTE(&dm, 0), first);
    EQUAL(REMOTE(&dm, 1), first + 1);
    dm_close(&dm);
}

static void ports_without_another_end(void)
{
    xenevtchn_handle *e = xenevtchn_open(NULL, XENEVTCHN_NO_CLOEXEC);
    CHECK(e);
    int a = xenevtchn_bind_unbound_port(e, 1), b = xenevtchn_bind_virq(e, 3);
    CHECK(a > 0 && b > 0 && a != b);
    FAILS(xenevtchn_bind_virq(e, 24), EINVAL);
    EQUAL(xenevtchn_notify(e, (evtchn_port_t)a), 0);
    EQUAL(xenevtchn_unbind(e, (evtchn_port_t)b), 0);
    FAILS(xenevtchn_unbind(e, 5000), EINVAL);
    FAILS(xenevtchn_notify(e, 5000), ENOTCONN);
    EQUAL(xenevtchn_unmask(e, 5000), 0);
    EQUAL(xenevtchn_restrict(e, 1), 0);
    FAILS(xenevtchn_restrict(e, 1), EACCES);
    FAILS(xenevtchn_bind_virq(e, 3), EACCES);
    FAILS(xenevtchn_bind_unbound_port(e, 1), EACCES);
    FAILS(xenevtchn_bind_interdomain(e, 2, 3), EACCES);
    EQUAL(xenevtchn_close(e), 0);
}

static void no_socket_is_no_node(void)
{
    setenv(WIRE_SOCKET_ENV, "/nonexistent/xensim", 1);
    FAILS_NULL(xenevtchn_open(NULL, 0), ENOENT);
    FAILS_NULL(xendevicemodel_open(NULL, 0), ENOENT);
    unsetenv(WIRE_SOCKET_ENV);
    FAILS_NULL(xenforeignmemory_open(NULL, 0), ENOENT);
    setenv(WIRE_SOCKET_ENV, socket_path, 1);
    EQUAL(xentoolcore_restrict_all(1), 0); /* the failed ones have left the list */
}

const struct test evtchn_tests[] = {
    {"evtchn: one binding at a time", one_binding_at_a_time},
    {"evtchn: delivery masks", delivery_masks},
    {"evtchn: the descriptor reads and writes ports", the_descriptor_reads_and_writes_ports},
    {"evtchn: Xen's ends are re-used", xens_ends_are_reused},
    {"evtchn: ports without another end", ports_without_another_end},
    {"evtchn: no socket is no node", no_socket_is_no_node},
    {NULL, NULL},
};
