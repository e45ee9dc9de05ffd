/* SPDX-License-Identifier: MIT */
/* String instructions: rep ins, outs, movs, stos. Source: Xen arch/x86/hvm/emulate.c. */
#include "emulate.h"

/* hvmemul_do_io(): repetitions of a COPY request end at the page of its address. */
static uint32_t limit_to_page(uint64_t addr, unsigned width, uint32_t count, bool df)
{
    unsigned off = PAGE_OFFSET(addr), tail = XEN_PAGE_SIZE - off;
    if (count <= 1)
        return count;
    if (tail < width)
        return 1; /* a single one spans two pages */
    uint32_t fit = (df ? off + width : tail) / width;
    return count < fit ? count : fit;
}

/* hvmemul_do_io_addr(): how many repetitions fit the RAM page; 0 when there is no RAM. */
static uint32_t limit_to_ram_page(struct xensim *x, uint64_t ram, unsigned width, uint32_t count,
                                  bool df)
{
    unsigned off = PAGE_OFFSET(ram);
    uint32_t fit = df ? ((off + width - 1) & (XEN_PAGE_SIZE - 1)) / width
                      : (XEN_PAGE_SIZE - off) / width;
    if (fit)
        return count < fit ? count : fit;
    unsigned type = memory_type(x, df ? ram - XEN_PAGE_SIZE : ram + XEN_PAGE_SIZE);
    /* A first element at the bottom of a page, going down, does not touch the page below. */
    bool crosses = off + width > XEN_PAGE_SIZE;
    return !crosses || (type != P2M_HOLE && type != P2M_MMIO_DM) ? 1 : 0;
}

static bool is_device(struct xensim *x, uint64_t gpa)
{
    unsigned type = memory_type(x, gpa);
    return type == P2M_HOLE || type == P2M_MMIO_DM;
}

/* What the emulator falls back to when both sides are of one kind: element by element. */
static struct outcome move_one(struct xensim *x, unsigned vcpu, enum xensim_space space,
                               bool to_ram, uint64_t addr, uint64_t ram, unsigned width)
{
    uint64_t data = 0;
    struct outcome o = {XENSIM_HANDLED, false};
    for (unsigned pass = 0; pass < 2 && !o.refused; pass++) {
        bool device_side = (pass == 0) == to_ram, write = pass == 1;
        if (device_side && space == XENSIM_PIO) {
            o.result = emulate_pio(x, vcpu, write, addr, width, &data);
            o.refused = o.result == XENSIM_CRASHED || o.result == XENSIM_STOPPED;
        } else {
            struct outcome m =
                emulate_mmio(x, vcpu, write, device_side ? addr : ram, (uint8_t *)&data, width);
            if (m.result != XENSIM_HANDLED)
                o = m;
        }
    }
    return o;
}

/* One request with data_is_ptr, for up to *n elements. Unclaimed reads fill the RAM with ones. */
static struct outcome rep_request(struct xensim *x, unsigned vcpu, enum xensim_space space,
                                  bool to_ram, uint64_t addr, uint64_t ram, unsigned width,
                                  uint32_t *n, bool df)
{
    struct xen_ioreq p = {
        .type = space == XENSIM_PIO ? IOREQ_TYPE_PIO : IOREQ_TYPE_COPY,
        .addr = addr, .size = width, .count = *n, .data = ram,
        .state_flags = IOREQ_DATA_IS_PTR | (to_ram ? IOREQ_DIR_READ : 0) | (df ? IOREQ_DF : 0),
    };
    struct outcome o = emulate_io(x, vcpu, &p, false);
    *n = p.count;
    if (o.result == XENSIM_UNHANDLED && !o.refused && to_ram) {
        uint64_t ones = UINT64_MAX;
        for (uint32_t i = 0; i < p.count; i++)
            memory_copy(x, df ? ram - (uint64_t)i * width : ram + (uint64_t)i * width, &ones, width,
                        true);
    }
    return o;
}

enum xensim_result xensim_vcpu_rep(struct xensim *x, unsigned vcpu, enum xensim_space space,
                                   bool to_ram, uint64_t addr, uint64_t ram, unsigned width,
                                   uint32_t count, bool df, uint32_t *done)
{
    struct outcome all = {XENSIM_HANDLED, false};
    *done = 0;
    if (vcpu >= x->vcpus)
        return XENSIM_STOPPED;
    if (x->arch == XENSIM_ARM)
        return XENSIM_ABORT; /* no such instruction */
    if (!emulate_valid_width(width, space == XENSIM_PIO ? 4 : 8) || (space == XENSIM_PIO && addr > 0xffff))
        return XENSIM_UNHANDLED;

    while (*done < count && !all.refused) {
        uint32_t n = 1;
        struct outcome o;
        if (space == XENSIM_PIO && !to_ram) {
            uint32_t first = 0;
            if (memory_copy(x, ram, &first, width, false))
                emulate_snoop_cf8(x, addr, width, first);
        }
        if (is_device(x, ram) || (space == XENSIM_MMIO && !is_device(x, addr))) {
            o = move_one(x, vcpu, space, to_ram, addr, ram, width);
        } else {
            n = limit_to_ram_page(x, ram, width, count - *done, df);
            if (!n)
                return XENSIM_UNHANDLED;
            if (space == XENSIM_MMIO)
                n = limit_to_page(addr, width, n, df);
            o = rep_request(x, vcpu, space, to_ram, addr, ram, width, &n, df);
        }
        if (o.result != XENSIM_HANDLED)
            all = o;
        if (o.refused)
            break;
        uint64_t step = (uint64_t)n * width;
        ram = df ? ram - step : ram + step;
        if (space == XENSIM_MMIO)
            addr = df ? addr - step : addr + step;
        *done += n;
    }
    return all.result;
}

enum xensim_result xensim_vcpu_rep_stos(struct xensim *x, unsigned vcpu, uint64_t addr,
                                        uint64_t data, unsigned width, uint32_t count, bool df)
{
    struct outcome all = {XENSIM_HANDLED, false};
    if (vcpu >= x->vcpus)
        return XENSIM_STOPPED;
    if (x->arch == XENSIM_ARM)
        return XENSIM_ABORT;
    if (!emulate_valid_width(width, 8))
        return XENSIM_UNHANDLED;
    while (count && !all.refused) {
        uint32_t n = 1;
        struct outcome o;
        if (is_device(x, addr)) {
            n = limit_to_page(addr, width, count, df);
            o = emulate_mmio_value(x, vcpu, true, addr, width, &n, df, &data, false);
        } else {
            uint64_t value = data;
            o = emulate_mmio(x, vcpu, true, addr, (uint8_t *)&value, width);
        }
        if (o.result != XENSIM_HANDLED)
            all = o;
        addr = df ? addr - (uint64_t)n * width : addr + (uint64_t)n * width;
        count -= n;
    }
    return all.result;
}
