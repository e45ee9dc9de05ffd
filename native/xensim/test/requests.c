/* SPDX-License-Identifier: MIT */
/* The state machine of a synchronous request, and what becomes of an access. */
#include "test.h"

static struct dm dm;
static struct access a;

static void with_server(void)
{
    dm_start(&dm, 0);
    dm_range(&dm, 1, MMIO, MMIO + 0xfff);
    dm_range(&dm, 0, 0x100, 0x107);
}

static void a_read_and_a_write(void)
{
    with_server();
    for (unsigned width = 1; width <= 8; width *= 2) {
        start_read(&a, 1, XENSIM_MMIO, MMIO + 0x10, width);
        struct xen_ioreq p = dm_request(&dm, 1);
        EQUAL(p.type, IOREQ_TYPE_COPY);
        EQUAL(p.addr, MMIO + 0x10);
        EQUAL(p.size, width);
        EQUAL(p.count, 1);
        EQUAL(p.data, 0);
        EQUAL(p.state_flags, IOREQ_DIR_READ | STATE_IOREQ_READY);
        EQUAL(p.pad0, 0);
        CHECK(p.vp_eport);
        EQUAL(dm_event(&dm, 1000), dm.port[1]);
        EQUAL(xenevtchn_unmask(dm.evtchn, dm.port[1]), 0);
        dm_answer(&dm, 1, UINT64_C(0xf1e2d3c4b5a69788));
        EQUAL(finish(&a), XENSIM_HANDLED);
        EQUAL(a.data, UINT64_C(0xf1e2d3c4b5a69788) & (width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * width) - 1));
        EQUAL(slot_state(&dm.slot[1]), STATE_IOREQ_NONE);
    }
    start_write(&a, 0, XENSIM_PIO, 0x104, 2, 0x12345678);
    struct xen_ioreq p = dm_request(&dm, 0);
    EQUAL(p.type, IOREQ_TYPE_PIO);
    EQUAL(p.data, 0x5678);
    EQUAL(p.state_flags, STATE_IOREQ_READY);
    CHECK(blocked(&a)); /* writes need no completion, yet the vCPU waits */
    dm_answer(&dm, 0, 99);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 0x12345678);
    EQUAL(counters().retried, 5);
    dm_close(&dm);
}

static void unclaimed_accesses(void)
{
    uint64_t data = 0;
    with_server();
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, MMIO + 0x1000, 8, &data), XENSIM_UNHANDLED);
    EQUAL(data, UINT64_MAX);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, false, 0x200, 2, &data), XENSIM_UNHANDLED);
    EQUAL(data, 0xffff);
    /* Half in a range is not in it. */
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, false, 0x106, 4, &data), XENSIM_UNHANDLED);
    EQUAL(data, 0xffffffff);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, true, 0x200, 4, &data), XENSIM_UNHANDLED);
    EQUAL(xendevicemodel_set_ioreq_server_state(dm.model, 1, dm.id, 0), 0);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, MMIO, 4, &data), XENSIM_UNHANDLED);
    EQUAL(counters().unhandled, 5);
    EQUAL(counters().copy + counters().pio, 0);
    dm_close(&dm);
}

static void only_a_notification_wakes(void)
{
    with_server();
    start_read(&a, 0, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 0);
    dm.slot[0].data = 7;
    set_state(&dm.slot[0], STATE_IORESP_READY);
    CHECK(blocked(&a));
    /* Another vCPU's port does not help, and any of this vCPU's does. */
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[1]), 0);
    CHECK(blocked(&a));
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[0]), 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 7);

    start_read(&a, 0, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 0);
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[0]), 0); /* too early: looks and sleeps again */
    set_state(&dm.slot[0], STATE_IOREQ_INPROCESS);
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[0]), 0);
    CHECK(blocked(&a));
    dm_answer(&dm, 0, 8);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 8);
    CHECK(counters().notify_from_server >= 5);
    dm_close(&dm);
}

static void abandoned(void)
{
    with_server();
    start_read(&a, 0, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 0);
    dm.slot[0].data = 5;
    set_state(&dm.slot[0], STATE_IOREQ_NONE);
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[0]), 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 0xffffffff);
    dm_close(&dm);
}

static void going_backwards_crashes(void)
{
    with_server();
    struct access other;
    start_read(&other, 1, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 1);
    start_read(&a, 0, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 0);
    set_state(&dm.slot[0], STATE_IOREQ_INPROCESS);
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[0]), 0);
    CHECK(blocked(&a));
    set_state(&dm.slot[0], STATE_IOREQ_READY);
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[0]), 0);
    EQUAL(finish(&a), XENSIM_CRASHED);
    EQUAL(finish(&other), XENSIM_CRASHED);
    CHECK(!strcmp(xensim_crash_reason(host), "d1v0 Weird HVM ioreq state transition 2 -> 1"));
    CHECK(console_has("(XEN) d1v0 Weird HVM ioreq state transition 2 -> 1\n"));
    EQUAL(xensim_shutdown_code(host), 3);
    uint64_t data;
    EQUAL(xensim_vcpu_access(host, 2, XENSIM_MMIO, false, MMIO, 4, &data), XENSIM_CRASHED);
    unsigned n; /* the domain is there until it is destroyed */
    EQUAL(xendevicemodel_nr_vcpus(dm.model, 1, &n), 0);
    dm_close(&dm);
}

static void an_impossible_state_crashes(void)
{
    with_server();
    start_read(&a, 2, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 2);
    set_state(&dm.slot[2], 9);
    EQUAL(xenevtchn_notify(dm.evtchn, dm.port[2]), 0);
    EQUAL(finish(&a), XENSIM_CRASHED);
    CHECK(!strcmp(xensim_crash_reason(host), "d1v2 Weird HVM iorequest state 9"));
    dm_close(&dm);
}

static void a_spoilt_slot_is_not_used(void)
{
    uint64_t data = 0;
    with_server();
    set_state(&dm.slot[0], STATE_IORESP_READY);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, MMIO, 4, &data), XENSIM_UNHANDLED);
    EQUAL(data, 0xffffffff);
    CHECK(console_has("(XEN) d1v0 device model set bad IO state 3\n"));
    set_state(&dm.slot[0], STATE_IOREQ_NONE);
    dm.slot[0].vp_eport = 77;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, MMIO, 4, &data), XENSIM_UNHANDLED);
    CHECK(console_has("(XEN) d1v0 device model set bad event channel 77\n"));
    CHECK(!xensim_crash_reason(host));
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, false, 0x100, 2, &data), XENSIM_CRASHED);
    CHECK(strstr(xensim_crash_reason(host), "Unexpected PIO status 1, port 0x100 read"));
    dm_close(&dm);
}

static void misaligned_and_crossing(void)
{
    with_server();
    dm_range(&dm, 1, MMIO + 0x1000, MMIO + 0x1fff);
    /* 4 bytes at the last 3 of a page: 2 + 1, then 1. */
    start_write(&a, 0, XENSIM_MMIO, MMIO + 0xffd, 4, 0x44332211);
    const struct { uint64_t addr, data; uint32_t size; } want[] = {
        {MMIO + 0xffd, 0x2211, 2}, {MMIO + 0xfff, 0x33, 1}, {MMIO + 0x1000, 0x44, 1}};
    for (unsigned i = 0; i < 3; i++) {
        struct xen_ioreq p = dm_request(&dm, 0);
        EQUAL(p.addr, want[i].addr);
        EQUAL(p.size, want[i].size);
        EQUAL(p.data, want[i].data);
        dm_answer(&dm, 0, 0);
    }
    EQUAL(finish(&a), XENSIM_HANDLED);
    dm_close(&dm);
}

static int wide(struct access *access)
{
    return xensim_vcpu_mmio(host, access->vcpu, access->write, access->addr, access->buffer, access->width);
}

static void wide_accesses_come_in_pieces(void)
{
    with_server();
    a = (struct access){.vcpu = 0, .addr = MMIO + 0x20, .width = 16};
    start(&a, wide);
    for (unsigned i = 0; i < 2; i++) {
        struct xen_ioreq p = dm_request(&dm, 0);
        EQUAL(p.size, 8);
        EQUAL(p.addr, MMIO + 0x20 + 8 * i);
        dm_answer(&dm, 0, i + 1);
    }
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.buffer[0], 1);
    EQUAL(a.buffer[8], 2);
    dm_close(&dm);
}

static void answer_pci(uint64_t addr, uint32_t size, unsigned read, uint64_t data)
{
    struct xen_ioreq p = dm_request(&dm, 0);
    EQUAL(p.type, IOREQ_TYPE_PCI_CONFIG);
    EQUAL(p.addr, addr);
    EQUAL(p.size, size);
    EQUAL(!!(p.state_flags & IOREQ_DIR_READ), read);
    dm_answer(&dm, 0, data);
    EQUAL(finish(&a), XENSIM_HANDLED);
}

static uint64_t out32(uint64_t port, uint32_t value, enum xensim_result want)
{
    uint64_t data = value;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, true, port, 4, &data), want);
    return data;
}

static void configuration_mechanism_1(void)
{
    with_server();
    uint64_t data;
    EQUAL(xendevicemodel_map_pcidev_to_ioreq_server(dm.model, 1, dm.id, 0, 1, 2, 3), 0);
    uint64_t sbdf = 0x0113;
    /* Disabled, 0xcfc is a port like another. */
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, false, 0xcfc, 4, &data), XENSIM_UNHANDLED);
    out32(0xcf8, 0x80011344, XENSIM_UNHANDLED); /* nobody owns the port; remembered all the same */
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, false, 0xcf8, 4, &data), XENSIM_UNHANDLED);
    EQUAL(data, 0xffffffff); /* as for a PVH guest, whose probe of mechanism 1 fails */
    start_read(&a, 0, XENSIM_PIO, 0xcfc, 4);
    answer_pci(sbdf << 32 | 0x44, 4, 1, 0x11223344);
    EQUAL(a.data, 0x11223344);
    start_write(&a, 0, XENSIM_PIO, 0xcfe, 2, 0xbeef);
    answer_pci(sbdf << 32 | 0x46, 2, 0, 0);
    start_read(&a, 0, XENSIM_PIO, 0xcfd, 4); /* crosses the dword: not cut */
    answer_pci(sbdf << 32 | 0x45, 4, 1, 0);
    /* Only a dword write sets it, and only at 0xcf8. */
    data = 0;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, true, 0xcf8, 2, &data), XENSIM_UNHANDLED);
    start_read(&a, 3, XENSIM_PIO, 0xcfc, 1); /* one CF8 for the whole domain */
    dm_request(&dm, 3);
    dm_answer(&dm, 3, 1);
    EQUAL(finish(&a), XENSIM_HANDLED);
    /* The extended bits count only after the MSR said so. */
    out32(0xcf8, 0x85011344, XENSIM_UNHANDLED);
    start_read(&a, 0, XENSIM_PIO, 0xcfc, 4);
    answer_pci(sbdf << 32 | 0x44, 4, 1, 0);
    xensim_set_cf8_ext(host, true);
    start_read(&a, 0, XENSIM_PIO, 0xcfc, 4);
    answer_pci(sbdf << 32 | 0x544, 4, 1, 0);
    /* An absent function reads ones, whoever owns port 0xcfc. */
    dm_range(&dm, 0, 0xcf8, 0xcff);
    start_write(&a, 0, XENSIM_PIO, 0xcf8, 4, 0x80011444);
    struct xen_ioreq p = dm_request(&dm, 0);
    EQUAL(p.type, IOREQ_TYPE_PIO);
    dm_answer(&dm, 0, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    start_read(&a, 0, XENSIM_PIO, 0xcf8, 4); /* the owner's to answer, not Xen's */
    dm_request(&dm, 0);
    dm_answer(&dm, 0, 0x80011444);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 0x80011444);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, false, 0xcfc, 2, &data), XENSIM_UNHANDLED);
    EQUAL(data, 0xffff);
    EQUAL(counters().pci_config, 6);
    dm_close(&dm);
}

static int raw(struct access *access)
{
    return xensim_vcpu_raw(host, access->vcpu, &access->raw);
}

static void any_request_at_all(void)
{
    with_server();
    a = (struct access){.vcpu = 1, .raw = {.type = 200, .size = 3, .count = 77, .addr = 5, .data = 6,
                                           .state_flags = 0xff}};
    start(&a, raw);
    struct xen_ioreq p = dm_request(&dm, 1);
    EQUAL(p.type, 200);
    EQUAL(p.size, 3);
    EQUAL(p.count, 77);
    EQUAL(p.state_flags, 0xf0 | STATE_IOREQ_READY);
    dm_answer(&dm, 1, 0x99);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.raw.data, 0x99);
    EQUAL(slot_state(&a.raw), STATE_IORESP_READY);
    dm_close(&dm);
}

static int invalidate(struct access *access)
{
    return xensim_vcpu_invalidate(host, access->vcpu);
}

static void invalidate_waits_for_all(void)
{
    struct dm second, disabled;
    with_server();
    dm_start(&second, 0);
    dm_start(&disabled, 0);
    EQUAL(xendevicemodel_set_ioreq_server_state(disabled.model, 1, disabled.id, 0), 0);
    a = (struct access){.vcpu = 0};
    start(&a, invalidate);
    struct xen_ioreq p = dm_request(&dm, 0);
    EQUAL(p.type, IOREQ_TYPE_INVALIDATE);
    EQUAL(p.size, 4);
    EQUAL(p.count, 0);
    EQUAL(p.data, UINT64_MAX);
    dm_request(&second, 0);
    dm_answer(&dm, 0, 0);
    CHECK(blocked(&a));
    dm_answer(&second, 0, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(slot_state(&disabled.slot[0]), STATE_IOREQ_NONE);
    EQUAL(counters().invalidate, 2);
    dm_close(&disabled);
    dm_close(&second);
    dm_close(&dm);
    EQUAL(xensim_vcpu_invalidate(host, 5), XENSIM_STOPPED);
}

static void destroyed_with_a_request_in_flight(void)
{
    with_server();
    start_read(&a, 0, XENSIM_MMIO, MMIO, 4);
    dm_request(&dm, 0);
    EQUAL(xendevicemodel_destroy_ioreq_server(dm.model, 1, dm.id), 0);
    dm_answer(&dm, 0, 1); /* nobody hears it */
    CHECK(blocked(&a));
    /* The rest of the domain goes on. */
    uint64_t data;
    EQUAL(xensim_vcpu_access(host, 1, XENSIM_MMIO, false, MMIO, 4, &data), XENSIM_UNHANDLED);
    CHECK(blocked(&a));
    xensim_destroy_domain(host);
    EQUAL(finish(&a), XENSIM_STOPPED);
    dm_close(&dm);
}

const struct test request_tests[] = {
    {"requests: a read and a write", a_read_and_a_write},
    {"requests: unclaimed accesses", unclaimed_accesses},
    {"requests: only a notification wakes", only_a_notification_wakes},
    {"requests: abandoned", abandoned},
    {"requests: going backwards crashes", going_backwards_crashes},
    {"requests: an impossible state crashes", an_impossible_state_crashes},
    {"requests: a spoilt slot is not used", a_spoilt_slot_is_not_used},
    {"requests: misaligned and crossing", misaligned_and_crossing},
    {"requests: wide accesses come in pieces", wide_accesses_come_in_pieces},
    {"requests: configuration mechanism 1", configuration_mechanism_1},
    {"requests: any request at all", any_request_at_all},
    {"requests: invalidate waits for all", invalidate_waits_for_all},
    {"requests: destroyed with a request in flight", destroyed_with_a_request_in_flight},
    {NULL, NULL},
};
