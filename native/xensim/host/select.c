/* SPDX-License-Identifier: MIT */
/*
 * What ioreq servers have claimed, and which of them gets an access.
 * Source: Xen common/ioreq.c, ioreq_server_select(); arch/x86/hvm/ioreq.c for CF8.
 */
#include "internal.h"

#include <errno.h>

/* ---- ranges ---- */

int server_map_range(struct xensim *x, const struct dmop_ioreq_server_range *r, bool map)
{
    if (r->start > r->end)
        return EINVAL;
    pthread_mutex_lock(&x->server_lock);
    struct ioreq_server *s = server_get(x, r->id);
    int error = !s ? ENOENT : r->type >= NR_IO_RANGE_TYPES ? EINVAL : 0;
    if (!error) {
        struct rangeset *set = &s->range[r->type];
        pthread_rwlock_wrlock(&s->ranges_lock);
        if (map)
            error = rangeset_overlaps(set, r->start, r->end) ? EEXIST
                                                             : rangeset_add(set, r->start, r->end);
        else
            error = rangeset_contains(set, r->start, r->end)
                        ? rangeset_remove(set, r->start, r->end)
                        : ENOENT;
        pthread_rwlock_unlock(&s->ranges_lock);
    }
    pthread_mutex_unlock(&x->server_lock);
    if (!error)
        atomic_fetch_add(map ? &x->count.ranges_mapped : &x->count.ranges_unmapped, 1);
    return error;
}

int server_map_mem_type(struct xensim *x, const struct dmop_map_mem_type_to_ioreq_server *m)
{
    if (m->type != HVMMEM_ioreq_server || m->flags & ~XEN_DMOP_IOREQ_MEM_ACCESS_WRITE)
        return EINVAL;
    pthread_mutex_lock(&x->server_lock);
    struct ioreq_server *s = server_get(x, m->id);
    int error = ENOENT;
    if (s) {
        domain_pause(x); /* a vCPU reads mem_type_server under its own lock */
        error = memory_map_mem_type(x, s, m->flags);
        domain_unpause(x);
    }
    pthread_mutex_unlock(&x->server_lock);
    return error;
}

unsigned xensim_ranges(struct xensim *x, unsigned server_id, struct xensim_range *out, unsigned max)
{
    unsigned n = 0;
    pthread_mutex_lock(&x->server_lock);
    struct ioreq_server *s = server_get(x, server_id);
    for (unsigned type = 0; s && type < NR_IO_RANGE_TYPES; type++) {
        for (unsigned i = 0; i < s->range[type].count; i++, n++)
            if (n < max)
                out[n] = (struct xensim_range){type, s->range[type].range[i].start,
                                               s->range[type].range[i].end};
    }
    pthread_mutex_unlock(&x->server_lock);
    return n;
}

/* ---- selection ---- */

/* hvm_pci_decode_addr() and the AMD extension of arch_ioreq_server_get_type_addr(). */
static uint64_t decode_cf8(const struct xensim *x, uint32_t cf8, uint64_t port)
{
    uint64_t sbdf = cf8 >> 8 & 0xffff;
    uint64_t reg = (cf8 & 0xfc) | (port & 3);
    if (x->cf8_ext)
        reg |= (cf8 & 0x0f000000) >> 16;
    return sbdf << 32 | reg;
}

/* Backwards: newer servers are favoured. */
static struct ioreq_server *newest_with(struct xensim *x, unsigned type, uint64_t first, uint64_t last)
{
    for (unsigned id = MAX_NR_IOREQ_SERVERS; id-- > 0;) {
        struct ioreq_server *s = x->server[id];
        if (!s || !s->enabled)
            continue;
        pthread_rwlock_rdlock(&s->ranges_lock);
        bool hit = rangeset_contains(&s->range[type], first, last);
        pthread_rwlock_unlock(&s->ranges_lock);
        if (hit)
            return s;
    }
    return NULL;
}

static struct ioreq_server *select_function(struct xensim *x, uint64_t config)
{
    return newest_with(x, XEN_DMOP_IO_RANGE_PCI, config >> 32, config >> 32);
}

/* Called by a running vCPU. A PCI request gets its type and address here. */
struct ioreq_server *server_select(struct xensim *x, struct xen_ioreq *p)
{
    uint64_t first = p->addr, last, config;
    uint32_t cf8 = atomic_load(&x->cf8);
    if (x->arch == XENSIM_X86 && p->type == IOREQ_TYPE_PIO && (p->addr & ~UINT64_C(3)) == 0xcfc &&
        cf8 & 0x80000000) {
        config = decode_cf8(x, cf8, p->addr);
        struct ioreq_server *s = select_function(x, config);
        if (s) {
            p->addr = config;
            p->type = IOREQ_TYPE_PCI_CONFIG;
        }
        return s;
    }
    if (p->type == IOREQ_TYPE_PIO) {
        last = first + p->size - 1; /* every repetition goes to the same port */
    } else if (p->type == IOREQ_TYPE_COPY) {
        if (p->state_flags & IOREQ_DF) {
            last = first + p->size - 1;
            first -= (uint64_t)(p->count - 1) * p->size;
        } else {
            last = first + (uint64_t)p->count * p->size - 1;
        }
    } else {
        return NULL;
    }
    if (last < first)
        return NULL; /* wraps around: no range holds it */
    if (p->type == IOREQ_TYPE_PIO)
        return newest_with(x, XEN_DMOP_IO_RANGE_PORT, first, last);

    switch (mmcfg_decode(x, p, first, last, &config)) {
    case MMCFG_FUNCTION: {
        struct ioreq_server *s = select_function(x, config);
        if (s)
            mmcfg_form(x, s, p, config);
        return s;
    }
    case MMCFG_STRADDLING:
        return NULL;
    case MMCFG_OUTSIDE:
        break;
    }
    return newest_with(x, XEN_DMOP_IO_RANGE_MEMORY, first, last);
}
