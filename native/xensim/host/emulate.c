/* SPDX-License-Identifier: MIT */
/*
 * What a vCPU's instruction becomes: one request, several, or none.
 * Source: Xen arch/x86/hvm/{emulate,io,intercept,stdvga}.c; arch/arm/{io,ioreq}.c.
 */
#include "emulate.h"

#include <stdio.h>
#include <string.h>

#define VGA_MEM_BASE 0xa0000u
#define VGA_MEM_SIZE 0x20000u

static uint64_t width_mask(unsigned width)
{
    return width >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * width) - 1;
}

bool emulate_valid_width(unsigned width, unsigned max)
{
    return width && width <= max && !(width & (width - 1));
}

/* A write to a port that ioreq_send() refused: handle_pio() has no other way out than a crash. */
static void unexpected_pio(struct xensim *x, unsigned vcpu, const struct xen_ioreq *p)
{
    char reason[100];
    snprintf(reason, sizeof reason, "d%uv%u Unexpected PIO status 1, port %#x %s 0x%0*llx",
             XENSIM_DOMID, vcpu, (unsigned)p->addr,
             p->state_flags & IOREQ_DIR_READ ? "read" : "write", (int)p->size * 2,
             (unsigned long long)(p->data & width_mask(p->size)));
    domain_crash(x, reason);
}

/* A function's registers, which read as ones where nobody claims the function. */
static bool is_mmcfg(const struct xensim *x, const struct xen_ioreq *p)
{
    uint64_t config;
    return mmcfg_decode(x, p, p->addr, p->addr + p->size - 1, &config) == MMCFG_FUNCTION;
}

/*
 * One request to the server that is given, else to the one that claims it. In the seed's words:
 * IO_RETRY puts the vCPU to sleep, and the second pass finds the data. p->data: value read.
 */
struct outcome emulate_io(struct xensim *x, unsigned vcpu, struct xen_ioreq *p, bool to_mem_type)
{
    struct vcpu *v = &x->vcpu[vcpu];
    bool pio = p->type == IOREQ_TYPE_PIO;
    if (!vcpu_enter(x, v))
        return (struct outcome){vcpu_gone(x), true};

    struct ioreq_server *s = to_mem_type ? x->mem_type_server : server_select(x, p);
    v->req = *p;
    v->req.state_flags |= STATE_IOREQ_READY;
    enum io_state sent = s ? ioreq_send(x, s, vcpu, p) : IO_UNHANDLED;
    if (sent != IO_RETRY)
        v->req.state_flags = STATE_IOREQ_NONE;
    bool abort = x->arch == XENSIM_ARM && (s || !is_mmcfg(x, p));
    vcpu_leave(v);

    if (sent == IO_RETRY) {
        enum xensim_result result = ioreq_handle_completion(x, vcpu, NULL);
        p->data = v->req.data;
        return (struct outcome){result, result != XENSIM_HANDLED};
    }
    p->data = UINT64_MAX;
    if (abort) {
        atomic_fetch_add(&x->count.aborted, 1);
        return (struct outcome){XENSIM_ABORT, true};
    }
    if (s && pio && !(p->state_flags & IOREQ_DATA_IS_PTR)) {
        unexpected_pio(x, vcpu, p);
        return (struct outcome){XENSIM_CRASHED, true};
    }
    atomic_fetch_add(&x->count.unhandled, 1);
    return (struct outcome){XENSIM_UNHANDLED, s != NULL};
}

/* stdvga_mem_accept() and stdvga_mem_write(): true when the write went into the ring. */
static bool try_stdvga(struct xensim *x, unsigned vcpu, const struct xen_ioreq *p)
{
    if (x->arch != XENSIM_X86 || p->type != IOREQ_TYPE_COPY || p->count != 1 ||
        p->state_flags & (IOREQ_DIR_READ | IOREQ_DATA_IS_PTR) || p->addr < VGA_MEM_BASE ||
        p->addr + p->size > VGA_MEM_BASE + VGA_MEM_SIZE)
        return false;
    struct xen_ioreq copy = *p;
    if (!vcpu_enter(x, &x->vcpu[vcpu]))
        return false; /* emulate_io() will say why */
    struct ioreq_server *s = server_select(x, &copy);
    bool posted = s && ioreq_send_buffered(x, s, &copy) == IO_HANDLED;
    if (s && !posted && s->bufioreq_handling != HVM_IOREQSRV_BUFIOREQ_OFF)
        atomic_fetch_add(&x->count.buffered_fallback, 1);
    vcpu_leave(&x->vcpu[vcpu]);
    return posted;
}

/* One COPY request with the value in the request. */
struct outcome emulate_mmio_value(struct xensim *x, unsigned vcpu, bool write, uint64_t gpa,
                                 unsigned size, uint32_t *count, bool df, uint64_t *data,
                                 bool to_mem_type)
{
    struct xen_ioreq p = {
        .type = IOREQ_TYPE_COPY, .addr = gpa, .size = size, .count = *count,
        .data = write ? *data & width_mask(size) : 0,
        .state_flags = (write ? 0 : IOREQ_DIR_READ) | (df ? IOREQ_DF : 0),
    };
    if (!to_mem_type && try_stdvga(x, vcpu, &p))
        return (struct outcome){XENSIM_HANDLED, false};
    struct outcome o = emulate_io(x, vcpu, &p, to_mem_type);
    *count = p.count;
    if (!write)
        *data = p.data & width_mask(size);
    return o;
}

/* hvmemul_phys_mmio_access(): inside one page, the largest powers of two first. */
static struct outcome mmio_in_page(struct xensim *x, unsigned vcpu, bool write, uint64_t gpa,
                                   uint8_t *buffer, unsigned size, bool to_mem_type)
{
    struct outcome all = {XENSIM_HANDLED, false};
    unsigned chunk = 8;
    uint32_t one = 1;
    while (size && !all.refused) {
        while (chunk > size)
            chunk >>= 1;
        uint64_t data = 0;
        if (write)
            memcpy(&data, buffer, chunk);
        struct outcome o = emulate_mmio_value(x, vcpu, write, gpa, chunk, &one, false, &data, to_mem_type);
        if (!write)
            memcpy(buffer, &data, chunk);
        if (o.result != XENSIM_HANDLED)
            all = o;
        gpa += chunk;
        buffer += chunk;
        size -= chunk;
    }
    return all;
}

struct outcome emulate_mmio(struct xensim *x, unsigned vcpu, bool write, uint64_t gpa,
                           uint8_t *buffer, unsigned size)
{
    struct outcome all = {XENSIM_HANDLED, false};
    while (size && !all.refused) {
        unsigned here = XEN_PAGE_SIZE - PAGE_OFFSET(gpa);
        if (here > size)
            here = size;
        unsigned type = memory_type(x, gpa);
        bool device = type == P2M_HOLE || type == P2M_MMIO_DM;
        bool to_mem_type = write && type == P2M_IOREQ_SERVER;
        /* RAM that is ballooned out between the two looks is a device by then. */
        if (device || to_mem_type || !memory_copy(x, gpa, buffer, here, write)) {
            struct outcome o = mmio_in_page(x, vcpu, write, gpa, buffer, here, to_mem_type);
            if (o.result != XENSIM_HANDLED)
                all = o;
        }
        gpa += here;
        buffer += here;
        size -= here;
    }
    return all;
}

/* Arm: an access is one request, of 1, 2, 4 or 8 bytes (try_fwd_ioserv()). */
static enum xensim_result arm_access(struct xensim *x, unsigned vcpu, bool write, uint64_t gpa,
                                     uint8_t *buffer, unsigned size)
{
    if (!emulate_valid_width(size, 8))
        return XENSIM_ABORT;
    unsigned type = memory_type(x, gpa);
    if (type != P2M_HOLE && memory_copy(x, gpa, buffer, size, write))
        return XENSIM_HANDLED;
    uint64_t data = 0;
    uint32_t one = 1;
    if (write)
        memcpy(&data, buffer, size);
    struct outcome o = emulate_mmio_value(x, vcpu, write, gpa, size, &one, false, &data, false);
    if (!write)
        memcpy(buffer, &data, size);
    return o.result;
}

enum xensim_result xensim_vcpu_mmio(struct xensim *x, unsigned vcpu, bool write, uint64_t addr,
                                    void *buffer, unsigned length)
{
    if (vcpu >= x->vcpus)
        return XENSIM_STOPPED;
    if (!length || length > 64)
        return XENSIM_UNHANDLED;
    if (atomic_load(&x->run_state) != RUN_ALIVE)
        return vcpu_gone(x);
    return x->arch == XENSIM_ARM ? arm_access(x, vcpu, write, addr, buffer, length)
                                 : emulate_mmio(x, vcpu, write, addr, buffer, length).result;
}

/* hvm_access_cf8() looks at dword writes and lets everything through. */
void emulate_snoop_cf8(struct xensim *x, uint64_t port, unsigned width, uint32_t data)
{
    if (port == 0xcf8 && width == 4)
        atomic_store(&x->cf8, data);
}

enum xensim_result emulate_pio(struct xensim *x, unsigned vcpu, bool write, uint64_t port,
                              unsigned width, uint64_t *data)
{
    if (x->arch == XENSIM_ARM)
        return XENSIM_ABORT; /* no I/O ports there: a bridge's aperture is MMIO */
    if (!emulate_valid_width(width, 4) || port > 0xffff) {
        *data = write ? *data : width_mask(width);
        return XENSIM_UNHANDLED;
    }
    struct xen_ioreq p = {
        .type = IOREQ_TYPE_PIO, .addr = port, .size = width, .count = 1,
        .data = write ? *data & width_mask(width) : 0,
        .state_flags = write ? 0 : IOREQ_DIR_READ,
    };
    if (write)
        emulate_snoop_cf8(x, port, width, (uint32_t)p.data);
    struct outcome o = emulate_io(x, vcpu, &p, false);
    if (!write)
        *data = p.data & width_mask(width);
    return o.result;
}

enum xensim_result xensim_vcpu_access(struct xensim *x, unsigned vcpu, enum xensim_space space,
                                      bool write, uint64_t addr, unsigned width, uint64_t *data)
{
    if (vcpu >= x->vcpus)
        return XENSIM_STOPPED;
    if (space == XENSIM_PIO)
        return emulate_pio(x, vcpu, write, addr, width, data);
    if (!width || width > 8)
        return XENSIM_UNHANDLED;
    uint8_t buffer[8] = {0};
    if (write)
        memcpy(buffer, data, width);
    else
        memset(buffer, 0xff, width);
    enum xensim_result result = xensim_vcpu_mmio(x, vcpu, write, addr, buffer, width);
    if (!write)
        memcpy(data, buffer, sizeof buffer);
    return result;
}

enum xensim_result xensim_vcpu_vga_write(struct xensim *x, unsigned vcpu, uint64_t addr,
                                         unsigned width, uint64_t data)
{
    if (vcpu >= x->vcpus)
        return XENSIM_STOPPED;
    if (x->arch == XENSIM_ARM)
        return XENSIM_ABORT;
    if (!width || width > 8)
        return XENSIM_UNHANDLED;
    struct outcome all = {XENSIM_HANDLED, false};
    uint8_t *bytes = (uint8_t *)&data;
    while (width && !all.refused) {
        unsigned here = XEN_PAGE_SIZE - PAGE_OFFSET(addr);
        if (here > width)
            here = width;
        struct outcome o = mmio_in_page(x, vcpu, true, addr, bytes, here, false);
        if (o.result != XENSIM_HANDLED)
            all = o;
        addr += here;
        bytes += here;
        width -= here;
    }
    return all.result;
}

/* ---- requests that no instruction makes ---- */

enum xensim_result xensim_vcpu_raw(struct xensim *x, unsigned vcpu, void *ioreq32)
{
    if (vcpu >= x->vcpus)
        return XENSIM_STOPPED;
    struct vcpu *v = &x->vcpu[vcpu];
    struct xen_ioreq p;
    memcpy(&p, ioreq32, sizeof p);
    p.state_flags &= ~IOREQ_STATE_MASK;
    if (!vcpu_enter(x, v))
        return vcpu_gone(x);
    struct ioreq_server *s = NULL;
    for (unsigned id = MAX_NR_IOREQ_SERVERS; id-- > 0 && !s;)
        if (x->server[id] && x->server[id]->enabled)
            s = x->server[id];
    v->req = (struct xen_ioreq){.state_flags = STATE_IOREQ_NONE};
    enum io_state sent = s ? ioreq_send(x, s, vcpu, &p) : IO_UNHANDLED;
    vcpu_leave(v);
    if (sent != IO_RETRY)
        return XENSIM_UNHANDLED;
    enum xensim_result result = ioreq_handle_completion(x, vcpu, &p);
    if (result == XENSIM_HANDLED)
        memcpy(ioreq32, &p, sizeof p);
    return result;
}
