/* SPDX-License-Identifier: MIT */
/* String instructions, as Xen cuts them into requests. */
#include "test.h"

static struct dm dm;
static struct access a;

static int rep(struct access *x)
{
    return xensim_vcpu_rep(host, x->vcpu, x->space, !x->write, x->addr, x->ram, x->width, x->count, x->df, &x->done);
}

static int stos(struct access *x)
{
    return xensim_vcpu_rep_stos(host, x->vcpu, x->addr, x->data, x->width, x->count, x->df);
}

/* Expect one request and answer it. */
static void expect(uint64_t addr, uint64_t data, uint32_t count, uint8_t flags)
{
    struct xen_ioreq p = dm_request(&dm, 0);
    EQUAL(p.addr, addr);
    EQUAL(p.data, data);
    EQUAL(p.count, count);
    EQUAL(p.state_flags & 0xf0, flags);
    dm_answer(&dm, 0, 0);
}

static void with_server(void)
{
    dm_start(&dm, 0);
    dm_range(&dm, 1, MMIO, MMIO + 0x2fff);
    dm_range(&dm, 0, 0x1f0, 0x1f7);
}

static void cut_at_the_ram_page(void)
{
    with_server();
    a = (struct access){.space = XENSIM_PIO, .addr = 0x1f0, .ram = 0x1ff8, .width = 2, .count = 8};
    start(&a, rep);
    expect(0x1f0, 0x1ff8, 4, IOREQ_DATA_IS_PTR | IOREQ_DIR_READ);
    expect(0x1f0, 0x2000, 4, IOREQ_DATA_IS_PTR | IOREQ_DIR_READ);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.done, 8);
    /* An element across the edge of the page goes alone. */
    a = (struct access){.space = XENSIM_PIO, .write = true, .addr = 0x1f0, .ram = 0x1ffd, .width = 2, .count = 4};
    start(&a, rep);
    expect(0x1f0, 0x1ffd, 1, IOREQ_DATA_IS_PTR);
    expect(0x1f0, 0x1fff, 1, IOREQ_DATA_IS_PTR);
    expect(0x1f0, 0x2001, 2, IOREQ_DATA_IS_PTR);
    EQUAL(finish(&a), XENSIM_HANDLED);
    dm_close(&dm);
}

static void cut_at_the_device_page(void)
{
    with_server();
    a = (struct access){.space = XENSIM_MMIO, .addr = MMIO + 0xff0, .ram = 0x3000, .width = 4, .count = 8};
    start(&a, rep);
    expect(MMIO + 0xff0, 0x3000, 4, IOREQ_DATA_IS_PTR | IOREQ_DIR_READ);
    expect(MMIO + 0x1000, 0x3010, 4, IOREQ_DATA_IS_PTR | IOREQ_DIR_READ);
    EQUAL(finish(&a), XENSIM_HANDLED);
    dm_close(&dm);
}

static void backwards(void)
{
    with_server();
    uint8_t flags = IOREQ_DATA_IS_PTR | IOREQ_DF;
    a = (struct access){.space = XENSIM_MMIO, .write = true, .addr = MMIO + 0x1004, .ram = 0x3100, .width = 4,
                        .count = 4, .df = true};
    start(&a, rep);
    expect(MMIO + 0x1004, 0x3100, 2, flags);
    expect(MMIO + 0xffc, 0x30f8, 2, flags);
    EQUAL(finish(&a), XENSIM_HANDLED);
    /* Down to the first byte of a page, one more element than Xen's division sees. */
    a = (struct access){.space = XENSIM_PIO, .addr = 0x1f0, .ram = 0x3004, .width = 4, .count = 3, .df = true};
    start(&a, rep);
    expect(0x1f0, 0x3004, 1, flags | IOREQ_DIR_READ);
    expect(0x1f0, 0x3000, 1, flags | IOREQ_DIR_READ);
    expect(0x1f0, 0x2ffc, 1, flags | IOREQ_DIR_READ);
    EQUAL(finish(&a), XENSIM_HANDLED);
    dm_close(&dm);
}

static void stores_repeat_a_value(void)
{
    with_server();
    a = (struct access){.addr = MMIO + 0xff8, .data = 0x1122334455667788, .width = 4, .count = 4};
    start(&a, stos);
    expect(MMIO + 0xff8, 0x55667788, 2, 0);
    expect(MMIO + 0x1000, 0x55667788, 2, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    a = (struct access){.addr = MMIO + 0x1000, .data = 9, .width = 2, .count = 2, .df = true};
    start(&a, stos);
    expect(MMIO + 0x1000, 9, 1, IOREQ_DF);
    expect(MMIO + 0xffe, 9, 1, IOREQ_DF);
    EQUAL(finish(&a), XENSIM_HANDLED);
    /* From RAM's end on, nothing but RAM first. */
    EQUAL(xensim_vcpu_rep_stos(host, 0, 0x5000, 0xabcd, 2, 2, false), XENSIM_HANDLED);
    EQUAL(xensim_ram(host)[0x5002], 0xcd);
    dm_close(&dm);
}

static void unclaimed_reads_fill_ram_with_ones(void)
{
    uint32_t done;
    memset(xensim_ram(host) + 0x4000, 0, 64);
    EQUAL(xensim_vcpu_rep(host, 0, XENSIM_PIO, true, 0x300, 0x4000, 2, 3, false, &done), XENSIM_UNHANDLED);
    EQUAL(done, 3);
    EQUAL(xensim_ram(host)[0x4005], 0xff);
    EQUAL(xensim_ram(host)[0x4006], 0);
}

static void ram_to_ram_and_device_to_device(void)
{
    uint32_t done;
    with_server();
    memcpy(xensim_ram(host) + 0x100, "abcdefgh", 8);
    EQUAL(xensim_vcpu_rep(host, 0, XENSIM_MMIO, true, 0x100, 0x200, 4, 2, false, &done), XENSIM_HANDLED);
    EQUAL(memcmp(xensim_ram(host) + 0x200, "abcdefgh", 8), 0);
    a = (struct access){.space = XENSIM_MMIO, .addr = MMIO, .ram = MMIO + 0x100, .width = 4, .count = 1};
    start(&a, rep);
    struct xen_ioreq p = dm_request(&dm, 0);
    EQUAL(p.state_flags & 0xf0, IOREQ_DIR_READ);
    EQUAL(p.addr, MMIO);
    dm_answer(&dm, 0, 0x1234);
    expect(MMIO + 0x100, 0x1234, 1, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    dm_close(&dm);
}

static void the_whole_repetition_lies_in_one_range(void)
{
    uint32_t done;
    dm_start(&dm, 0);
    dm_range(&dm, 1, MMIO, MMIO + 0x7f);
    EQUAL(xensim_vcpu_rep(host, 0, XENSIM_MMIO, false, MMIO + 0x70, 0x1000, 4, 5, false, &done), XENSIM_UNHANDLED);
    EQUAL(xensim_vcpu_rep(host, 0, XENSIM_MMIO, false, MMIO + 0x80, 0x1100, 4, 6, true, &done), XENSIM_UNHANDLED);
    EQUAL(counters().copy, 0);
    dm_close(&dm);
}

const struct test rep_tests[] = {
    {"rep: cut at the RAM page", cut_at_the_ram_page},
    {"rep: cut at the device page", cut_at_the_device_page},
    {"rep: backwards", backwards},
    {"rep: stores repeat a value", stores_repeat_a_value},
    {"rep: unclaimed reads fill RAM with ones", unclaimed_reads_fill_ram_with_ones},
    {"rep: RAM to RAM and device to device", ram_to_ram_and_device_to_device},
    {"rep: the whole repetition lies in one range", the_whole_repetition_lies_in_one_range},
    {NULL, NULL},
};
