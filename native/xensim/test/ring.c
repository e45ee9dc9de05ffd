/* SPDX-License-Identifier: MIT */
/* The buffered ring. */
#include "test.h"

#define VGA 0xa0000u
#define SLOTS IOREQ_BUFFER_SLOT_NUM

static struct dm dm;

static void with_vga(int bufioreq)
{
    dm_start(&dm, bufioreq);
    dm_range(&dm, 1, VGA, VGA + 0x1ffff);
}

static enum xensim_result post(uint64_t addr, unsigned width, uint64_t data)
{
    return xensim_vcpu_vga_write(host, 0, addr, width, data);
}

static void consume(uint32_t slots)
{
    __atomic_fetch_add(&dm.ring->read_pointer, slots, __ATOMIC_SEQ_CST);
}

static void an_entry_of_each_size(void)
{
    with_vga(2);
    EQUAL(post(VGA + 1, 1, 0x11), XENSIM_HANDLED);
    EQUAL(post(VGA + 2, 2, 0x2222), XENSIM_HANDLED);
    EQUAL(post(VGA + 4, 4, 0x44444444), XENSIM_HANDLED);
    EQUAL(post(VGA + 8, 8, UINT64_C(0x8888888877777777)), XENSIM_HANDLED);
    EQUAL(dm.ring->read_pointer, 0);
    EQUAL(dm.ring->write_pointer, 5);
    EQUAL(dm.ring->slot[0].head, IOREQ_TYPE_COPY | 0 << 10 | (VGA + 1) << 12);
    EQUAL(dm.ring->slot[1].head, IOREQ_TYPE_COPY | 1 << 10 | (VGA + 2) << 12);
    EQUAL(dm.ring->slot[2].head, IOREQ_TYPE_COPY | 2 << 10 | (VGA + 4) << 12);
    EQUAL(dm.ring->slot[3].head, IOREQ_TYPE_COPY | 3 << 10 | (VGA + 8) << 12);
    EQUAL(dm.ring->slot[4].head, dm.ring->slot[3].head);
    EQUAL(dm.ring->slot[3].data, 0x77777777);
    EQUAL(dm.ring->slot[4].data, 0x88888888);
    EQUAL(dm_event(&dm, 1000), dm.ring_port);
    EQUAL(counters().buffered, 4);
    dm_close(&dm);
}

static int vga(struct access *a)
{
    return post(a->addr, a->width, a->data);
}

static void a_full_ring_falls_back(void)
{
    with_vga(2);
    for (unsigned i = 0; i < SLOTS - 1; i++)
        EQUAL(post(VGA, 1, i), XENSIM_HANDLED);
    /* One slot left: not enough for 8 bytes, enough for 1. */
    struct access a = {.addr = VGA, .width = 8, .data = 5};
    start(&a, vga);
    EQUAL(dm_request(&dm, 0).size, 8);
    dm_answer(&dm, 0, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(post(VGA, 1, 1), XENSIM_HANDLED);
    a = (struct access){.addr = VGA, .width = 1, .data = 6};
    start(&a, vga);
    dm_request(&dm, 0);
    dm_answer(&dm, 0, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(dm.ring->write_pointer, SLOTS);
    EQUAL(counters().buffered_fallback, 2);
    EQUAL(counters().buffered, SLOTS);
    dm_close(&dm);
}

static void pointers_are_canonicalised(void)
{
    with_vga(2);
    for (unsigned i = 0; i < SLOTS - 1; i++) {
        EQUAL(post(VGA, 1, i), XENSIM_HANDLED);
        consume(1);
    }
    /* 510 and then 0: a pair that wraps. */
    EQUAL(post(VGA, 8, UINT64_C(0x0000000b0000000a)), XENSIM_HANDLED);
    EQUAL(dm.ring->slot[510].data, 0xa);
    EQUAL(dm.ring->slot[0].data, 0xb);
    EQUAL(dm.ring->write_pointer, SLOTS + 1);
    consume(2);
    EQUAL(dm.ring->read_pointer, SLOTS + 1);
    EQUAL(post(VGA, 1, 0x77), XENSIM_HANDLED);
    EQUAL(dm.ring->read_pointer, 1);
    EQUAL(dm.ring->write_pointer, 2);
    EQUAL(dm.ring->slot[1].data, 0x77);
    dm_close(&dm);
}

static void legacy_pointers_run_free(void)
{
    with_vga(1);
    for (unsigned i = 0; i < SLOTS + 3; i++) {
        EQUAL(post(VGA, 4, i), XENSIM_HANDLED);
        consume(1);
    }
    EQUAL(dm.ring->read_pointer, SLOTS + 3);
    EQUAL(dm.ring->write_pointer, SLOTS + 3);
    EQUAL(dm.ring->slot[2].data, SLOTS + 2);
    dm_close(&dm);
}

static void what_does_not_fit_an_entry(void)
{
    with_vga(2);
    struct xen_ioreq p = {.type = IOREQ_TYPE_COPY, .addr = 0xfffff, .size = 1, .count = 1};
    EQUAL(xensim_raw_buffered(host, &p), XENSIM_HANDLED);
    p.addr = 0x100000;
    EQUAL(xensim_raw_buffered(host, &p), XENSIM_UNHANDLED);
    p.addr = 0;
    p.count = 2;
    EQUAL(xensim_raw_buffered(host, &p), XENSIM_UNHANDLED);
    p.count = 1;
    p.state_flags = IOREQ_DATA_IS_PTR;
    EQUAL(xensim_raw_buffered(host, &p), XENSIM_UNHANDLED);
    p.state_flags = 0;
    p.size = 3;
    EQUAL(xensim_raw_buffered(host, &p), XENSIM_UNHANDLED);
    EQUAL(dm.ring->write_pointer, 1);
    dm_close(&dm);
}

static void without_a_ring_it_is_an_ordinary_request(void)
{
    with_vga(0);
    struct access a = {.addr = VGA, .width = 4, .data = 5};
    start(&a, vga);
    EQUAL(dm_request(&dm, 0).addr, VGA);
    dm_answer(&dm, 0, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(counters().buffered_fallback, 0);
    /* Nobody claims it: discarded. */
    EQUAL(xendevicemodel_unmap_io_range_from_ioreq_server(dm.model, 1, dm.id, 1, VGA, VGA + 0x1ffff), 0);
    EQUAL(post(VGA, 1, 1), XENSIM_UNHANDLED);
    dm_close(&dm);
}

static void time_offsets_go_to_every_ring(void)
{
    struct dm second, off;
    with_vga(2);
    dm_start(&second, 1);
    dm_start(&off, 0);
    xensim_send_timeoffset(host, 0);
    EQUAL(dm.ring->write_pointer, 0);
    xensim_send_timeoffset(host, -2);
    EQUAL(dm.ring->write_pointer, 2);
    EQUAL(second.ring->write_pointer, 2);
    EQUAL(dm.ring->slot[0].head, IOREQ_TYPE_TIMEOFFSET | 3 << 10);
    EQUAL(dm.ring->slot[0].data, 0xfffffffe);
    EQUAL(dm.ring->slot[1].data, 0xffffffff);
    EQUAL(counters().timeoffset, 2);
    dm.ring->write_pointer = 600; /* full by the looks of it */
    xensim_send_timeoffset(host, 1);
    CHECK(console_has("Unsuccessful timeoffset update"));
    dm_close(&off);
    dm_close(&second);
    dm_close(&dm);
}

static void *consumer(void *arg)
{
    uint32_t *next = arg, seen = 0;
    while (seen < 20000) {
        uint64_t both = __atomic_load_n(&dm.ring->pointers, __ATOMIC_ACQUIRE);
        uint32_t read = (uint32_t)both, write = (uint32_t)(both >> 32);
        if (read == write)
            continue;
        if (dm.ring->slot[read % SLOTS].data != *next)
            break;
        ++*next;
        seen++;
        consume(1);
    }
    return NULL;
}

static int produce(struct access *a)
{
    for (uint32_t i = 0; i < 20000; i++) {
        while (xensim_raw_buffered(host, &(struct xen_ioreq){.type = IOREQ_TYPE_COPY, .addr = VGA, .size = 4,
                                                            .count = 1, .data = i}) != XENSIM_HANDLED)
            sched_yield();
        a->done = i + 1;
    }
    return XENSIM_HANDLED;
}

static void producer_and_consumer_race(void)
{
    with_vga(2);
    pthread_t thread;
    uint32_t next = 0;
    CHECK(!pthread_create(&thread, NULL, consumer, &next));
    struct access a = {.vcpu = 0};
    start(&a, produce);
    pthread_join(a.thread, NULL);
    pthread_join(thread, NULL);
    EQUAL(next, 20000);
    dm_close(&dm);
}

const struct test ring_tests[] = {
    {"ring: an entry of each size", an_entry_of_each_size},
    {"ring: a full ring falls back", a_full_ring_falls_back},
    {"ring: pointers are canonicalised", pointers_are_canonicalised},
    {"ring: legacy pointers run free", legacy_pointers_run_free},
    {"ring: what does not fit an entry", what_does_not_fit_an_entry},
    {"ring: without a ring it is an ordinary request", without_a_ring_it_is_an_ordinary_request},
    {"ring: time offsets go to every ring", time_offsets_go_to_every_ring},
    {"ring: producer and consumer race", producer_and_consumer_race},
    {NULL, NULL},
};
