/* SPDX-License-Identifier: MIT */
/* Interrupts that device models raise. Source: Xen arch/x86/hvm/irq.c, arch/arm/dm.c. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define NR_ISA_IRQS 16
#define NR_LOCAL_IRQS 32 /* SGIs and PPIs */

int irq_start(struct xensim *x)
{
    x->msi = calloc(MSI_QUEUE, sizeof *x->msi);
    return x->msi ? 0 : ENOMEM;
}

void irq_free(struct xensim *x)
{
    free(x->msi);
}

static void changed_locked(struct xensim *x)
{
    x->irq_changes++;
    pthread_cond_broadcast(&x->irq_cond);
}

void irq_changed(struct xensim *x)
{
    pthread_mutex_lock(&x->irq_lock);
    changed_locked(x);
    pthread_mutex_unlock(&x->irq_lock);
}

static void gsi_assert(struct xensim *x, unsigned gsi)
{
    if (x->gsi_count[gsi]++ == 0)
        x->gsi_edges[gsi]++;
}

static void gsi_deassert(struct xensim *x, unsigned gsi)
{
    x->gsi_count[gsi]--;
}

/* hvm_pci_intx_assert(): a (device, pin) counts once however often it is asserted. */
int irq_set_intx(struct xensim *x, const struct dmop_set_pci_intx_level *p)
{
    if (p->domain || p->bus || p->device > 31 || p->intx > 3 || p->level > 1)
        return EINVAL;
    unsigned dev = p->device, gsi = (((dev << 2) + (dev >> 3) + p->intx) & 31) + 16;
    unsigned link = (dev + p->intx) & 3;
    uint32_t bit = UINT32_C(1) << dev;

    pthread_mutex_lock(&x->irq_lock);
    unsigned isa = x->link_route[link];
    if (p->level && !(x->intx[p->intx] & bit)) {
        x->intx[p->intx] |= bit;
        gsi_assert(x, gsi);
        if (x->link_count[link]++ == 0 && isa)
            gsi_assert(x, isa);
    } else if (!p->level && x->intx[p->intx] & bit) {
        x->intx[p->intx] &= ~bit;
        gsi_deassert(x, gsi);
        if (--x->link_count[link] == 0 && isa)
            gsi_deassert(x, isa);
    }
    changed_locked(x);
    pthread_mutex_unlock(&x->irq_lock);
    return 0;
}

int irq_set_isa(struct xensim *x, const struct dmop_set_isa_irq_level *p)
{
    if (p->isa_irq >= NR_ISA_IRQS || p->level > 1)
        return EINVAL;
    unsigned gsi = p->isa_irq ? p->isa_irq : 2; /* hvm_isa_irq_to_gsi(): the timer's override */
    uint32_t bit = UINT32_C(1) << p->isa_irq;
    pthread_mutex_lock(&x->irq_lock);
    if (p->level && !(x->isa & bit)) {
        x->isa |= bit;
        gsi_assert(x, gsi);
    } else if (!p->level && x->isa & bit) {
        x->isa &= ~bit;
        gsi_deassert(x, gsi);
    }
    changed_locked(x);
    pthread_mutex_unlock(&x->irq_lock);
    return 0;
}

int irq_set_link_route(struct xensim *x, const struct dmop_set_pci_link_route *p)
{
    if (p->link > 3 || p->isa_irq >= NR_ISA_IRQS)
        return EINVAL;
    pthread_mutex_lock(&x->irq_lock);
    unsigned old = x->link_route[p->link];
    if (old != p->isa_irq) {
        x->link_route[p->link] = p->isa_irq;
        if (x->link_count[p->link]) {
            if (old)
                gsi_deassert(x, old);
            if (p->isa_irq)
                gsi_assert(x, p->isa_irq);
        }
        changed_locked(x);
    }
    pthread_mutex_unlock(&x->irq_lock);
    return 0;
}

/* Arm: the line of an SPI. */
int irq_set_spi(struct xensim *x, const struct dmop_set_irq_level *p)
{
    if (p->irq < NR_LOCAL_IRQS || p->irq >= NR_GSIS || p->level > 1 || p->pad[0] || p->pad[1] ||
        p->pad[2])
        return EINVAL;
    pthread_mutex_lock(&x->irq_lock);
    if (p->level && !x->gsi_count[p->irq])
        gsi_assert(x, p->irq);
    else if (!p->level && x->gsi_count[p->irq])
        gsi_deassert(x, p->irq);
    changed_locked(x);
    pthread_mutex_unlock(&x->irq_lock);
    return 0;
}

/* hvm_inject_msi() and vmsi_deliver(). Vector 0 is the way to name a pirq instead. */
int irq_inject_msi(struct xensim *x, uint64_t addr, uint32_t data)
{
    enum { dest_Fixed = 0, dest_LowestPrio = 1 };
    uint32_t dest = addr >> 12 & 0xff, mode = data >> 8 & 7;
    if (!(data & 0xff)) {
        if (!((addr >> 32 & 0xffffff00) | dest))
            return ERANGE;
    } else if (mode != dest_Fixed && mode != dest_LowestPrio) {
        console_log(x, "Unsupported MSI delivery mode %u for Dom%u", mode, XENSIM_DOMID);
        return EINVAL;
    }
    pthread_mutex_lock(&x->irq_lock);
    if (x->msi_used < MSI_QUEUE)
        x->msi[(x->msi_first + x->msi_used++) % MSI_QUEUE] = (struct xensim_msi){addr, data};
    changed_locked(x);
    pthread_mutex_unlock(&x->irq_lock);
    return 0;
}

bool xensim_gsi_level(struct xensim *x, unsigned gsi)
{
    pthread_mutex_lock(&x->irq_lock);
    bool level = gsi < NR_GSIS && x->gsi_count[gsi];
    pthread_mutex_unlock(&x->irq_lock);
    return level;
}

uint64_t xensim_gsi_edges(struct xensim *x, unsigned gsi)
{
    pthread_mutex_lock(&x->irq_lock);
    uint64_t edges = gsi < NR_GSIS ? x->gsi_edges[gsi] : 0;
    pthread_mutex_unlock(&x->irq_lock);
    return edges;
}

bool xensim_take_msi(struct xensim *x, struct xensim_msi *out)
{
    pthread_mutex_lock(&x->irq_lock);
    bool some = x->msi_used;
    if (some) {
        *out = x->msi[x->msi_first];
        x->msi_first = (x->msi_first + 1) % MSI_QUEUE;
        x->msi_used--;
    }
    pthread_mutex_unlock(&x->irq_lock);
    return some;
}

bool xensim_wait_interrupt(struct xensim *x, uint64_t seen, int timeout_ms, uint64_t *now)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    int rc = 0;
    pthread_mutex_lock(&x->irq_lock);
    while (x->irq_changes == seen && !rc && domain_exists(x))
        rc = timeout_ms < 0 ? pthread_cond_wait(&x->irq_cond, &x->irq_lock)
                            : pthread_cond_timedwait(&x->irq_cond, &x->irq_lock, &until);
    bool changed = x->irq_changes != seen && domain_exists(x);
    *now = x->irq_changes;
    pthread_mutex_unlock(&x->irq_lock);
    return changed;
}
