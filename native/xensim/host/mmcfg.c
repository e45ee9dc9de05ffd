/* SPDX-License-Identifier: MIT */
/*
 * MMCONFIG (ECAM) windows that Xen knows of. No real Xen has this. It is what a thread on xen-devel
 * came to in March 2018, "[RFC PATCH 07/12] hvmloader: allocate MMCONFIG area in the MMIO hole": "a
 * dmop/hypercall to tell Xen where to trap MMIO accesses to MMCONFIG"; "every MMIO access to the
 * current MMCONFIG range will be converted into BDF first"; "target device model is selected using
 * calculated BDF"; and "why not to allow specifying for DM whether it prefers to receive MMCONFIG
 * accesses as native (MMIO ones) or as translated PCI conf ioreqs? We can still route either ioreq
 * type to multiple device emulators accordingly". What the thread leaves open is decided here:
 *
 * - Where the window is, is a fact about the machine, told by the server that emulates the chipset.
 *   Another server cannot take a segment that has one (EEXIST). The server's end is the window's.
 * - In which form requests come is each server's own choice. One that never chose gets them
 *   translated: claiming functions, as for CF8 and CFC, says nothing of where the window is.
 * - Mapping a segment again moves its window, in one step for the guest: the domain is paused, no
 *   access finds both places or neither. The new place may overlap the old one. A request that is
 *   under way is answered as what it was.
 * - base is where start_bus is (ACPI's MCFG table tells where bus 0 would be), and is aligned to the
 *   window's length, rounded up to a power of two, as chipsets decode it and PCIe 7.2.2 has it.
 * - The window is Xen's. Memory ranges under it get nothing, RAM over it comes first (so mapping one
 *   over RAM is refused: EINVAL), and a function that nobody claims reads all-ones, on Arm too.
 * - size is the instruction's, up to 8, at any offset: "Why can't you just set size = 8". A server
 *   whose chipset has no such access is to reject it.
 * - What runs over the end of a function's 4 KiB is no access to a function. On x86 the emulator has
 *   cut it at the page before, as any MMIO; what comes whole all the same, an element of a
 *   repetition or any access on Arm, gets no server: all-ones, and on Arm a data abort.
 * - A repetition goes to a native server like any other. Translated it goes element by element, as
 *   the address of IOREQ_TYPE_PCI_CONFIG stays where it is: with CF8 and CFC it is one port.
 */
#include "internal.h"

#include <errno.h>

#define BUS_SHIFT 20
#define FUNCTION_SHIFT XEN_PAGE_SHIFT

static uint64_t length(unsigned start_bus, unsigned end_bus)
{
    return (end_bus - start_bus + UINT64_C(1)) << BUS_SHIFT;
}

static uint64_t last_of(const struct mmcfg_window *w)
{
    return w->base + length(w->start_bus, w->end_bus) - 1;
}

static bool overlaps(const struct mmcfg_window *w, uint64_t first, uint64_t last)
{
    return first <= last_of(w) && last >= w->base;
}

static bool aligned(const struct dmop_map_mmcfg *m)
{
    uint64_t size = UINT64_C(1) << BUS_SHIFT;
    while (size < length(m->start_bus, m->end_bus))
        size <<= 1;
    return !(m->base & (size - 1)); /* and it does not wrap around, either */
}

static bool has_ram(struct xensim *x, uint64_t first, uint64_t last)
{
    for (uint64_t gpa = first; gpa < last && gpa >> XEN_PAGE_SHIFT < x->nr_gfns; gpa += XEN_PAGE_SIZE) {
        unsigned type = memory_type(x, gpa);
        if (type != P2M_HOLE && type != P2M_MMIO_DM)
            return true;
    }
    return false;
}

static struct mmcfg_window *find(struct mmcfg_windows *all, uint16_t segment)
{
    for (unsigned i = 0; i < all->count; i++)
        if (all->window[i].segment == segment)
            return &all->window[i];
    return NULL;
}

/* An errno, or 0 and where the new window's data go. */
static int place(struct xensim *x, const struct mmcfg_window *new, struct mmcfg_window **at)
{
    struct mmcfg_windows *all = &x->mmcfg;
    uint64_t first = new->base, last = last_of(new);
    struct mmcfg_window *old = find(all, new->segment);
    if (old && old->server != new->server)
        return EEXIST;
    for (unsigned i = 0; i < all->count; i++)
        if (&all->window[i] != old && overlaps(&all->window[i], first, last))
            return EEXIST;
    if (has_ram(x, first, last))
        return EINVAL;
    if (!old && all->count == MAX_NR_MMCFG)
        return ENOSPC;
    *at = old ? old : &all->window[all->count];
    return 0;
}

int mmcfg_map(struct xensim *x, const struct dmop_map_mmcfg *m)
{
    if (m->pad || m->pad2 || m->flags & ~XEN_DMOP_mmcfg_native || m->start_bus > m->end_bus || !aligned(m))
        return EINVAL;
    const struct mmcfg_window new = {
        .base = m->base, .segment = m->segment, .start_bus = m->start_bus, .end_bus = m->end_bus,
        .server = m->id,
    };
    struct mmcfg_window *at;
    pthread_mutex_lock(&x->server_lock);
    struct ioreq_server *s = server_get(x, m->id);
    int error = s ? place(x, &new, &at) : ENOENT;
    if (!error) {
        domain_pause(x);
        if (at == &x->mmcfg.window[x->mmcfg.count])
            x->mmcfg.count++;
        *at = new;
        s->mmcfg_native = m->flags & XEN_DMOP_mmcfg_native;
        domain_unpause(x);
    }
    pthread_mutex_unlock(&x->server_lock);
    return error;
}

static void drop(struct mmcfg_windows *all, struct mmcfg_window *w)
{
    *w = all->window[--all->count];
}

int mmcfg_unmap(struct xensim *x, const struct dmop_unmap_mmcfg *m)
{
    pthread_mutex_lock(&x->server_lock);
    struct mmcfg_window *w = find(&x->mmcfg, m->segment);
    int error = w && w->server == m->id ? 0 : ENOENT;
    if (!error) {
        domain_pause(x);
        drop(&x->mmcfg, w);
        domain_unpause(x);
    }
    pthread_mutex_unlock(&x->server_lock);
    return error;
}

int mmcfg_set_form(struct xensim *x, const struct dmop_set_ioreq_server_mmcfg *m)
{
    if (m->pad || m->flags & ~XEN_DMOP_mmcfg_native)
        return EINVAL;
    pthread_mutex_lock(&x->server_lock);
    struct ioreq_server *s = server_get(x, m->id);
    if (s) {
        domain_pause(x);
        s->mmcfg_native = m->flags & XEN_DMOP_mmcfg_native;
        domain_unpause(x);
    }
    pthread_mutex_unlock(&x->server_lock);
    return s ? 0 : ENOENT;
}

void mmcfg_forget(struct xensim *x, unsigned server)
{
    for (unsigned i = x->mmcfg.count; i-- > 0;)
        if (x->mmcfg.window[i].server == server)
            drop(&x->mmcfg, &x->mmcfg.window[i]);
}

unsigned xensim_mmcfg_windows(struct xensim *x, struct xensim_mmcfg *out, unsigned max)
{
    pthread_mutex_lock(&x->server_lock);
    unsigned n = x->mmcfg.count;
    for (unsigned i = 0; i < n && i < max; i++) {
        const struct mmcfg_window *w = &x->mmcfg.window[i];
        out[i] = (struct xensim_mmcfg){w->base, w->segment, w->start_bus, w->end_bus, w->server};
    }
    pthread_mutex_unlock(&x->server_lock);
    return n;
}

/* ---- accesses, by a running vCPU ---- */

enum mmcfg_place mmcfg_decode(const struct xensim *x, const struct xen_ioreq *p, uint64_t first,
                              uint64_t last, uint64_t *config)
{
    for (unsigned i = 0; i < x->mmcfg.count; i++) {
        const struct mmcfg_window *w = &x->mmcfg.window[i];
        if (!overlaps(w, first, last))
            continue;
        if (first >> FUNCTION_SHIFT != last >> FUNCTION_SHIFT)
            return MMCFG_STRADDLING;
        uint64_t sbdf = ((uint64_t)w->segment << 16 | w->start_bus << 8) +
                        ((first - w->base) >> FUNCTION_SHIFT);
        *config = sbdf << 32 | (p->addr & (XEN_PAGE_SIZE - 1));
        return MMCFG_FUNCTION;
    }
    return MMCFG_OUTSIDE;
}

void mmcfg_form(struct xensim *x, const struct ioreq_server *s, struct xen_ioreq *p, uint64_t config)
{
    atomic_fetch_add(s->mmcfg_native ? &x->count.mmcfg_native : &x->count.mmcfg_translated, 1);
    if (s->mmcfg_native)
        return;
    p->type = IOREQ_TYPE_PCI_CONFIG;
    p->addr = config;
    if (p->count > 1)
        p->count = 1; /* the caller goes on with the rest, as after a page's end */
}
