/* SPDX-License-Identifier: MIT */
/*
 * Xen's side of a synchronous request. Source: Xen common/ioreq.c, ioreq_send(), wait_for_io(),
 * vcpu_ioreq_handle_completion(), ioreq_broadcast().
 *
 * The slot is live memory that the device model may write at any time: every look at the state
 * is one atomic load, and only state and data are ever read back.
 */
#include "internal.h"

#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_US 1000u

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint8_t slot_state(struct xen_ioreq *slot)
{
    return __atomic_load_n(&slot->state_flags, __ATOMIC_ACQUIRE) & IOREQ_STATE_MASK;
}

static void set_slot_state(struct xen_ioreq *slot, uint8_t state)
{
    uint8_t flags = __atomic_load_n(&slot->state_flags, __ATOMIC_RELAXED) & ~IOREQ_STATE_MASK;
    __atomic_store_n(&slot->state_flags, flags | state, __ATOMIC_SEQ_CST);
}

bool ioreq_needs_completion(const struct xen_ioreq *p)
{
    return (p->state_flags & IOREQ_STATE_MASK) == STATE_IOREQ_READY &&
           !(p->state_flags & IOREQ_DATA_IS_PTR) &&
           (p->type != IOREQ_TYPE_PIO || p->state_flags & IOREQ_DIR_READ);
}

void ioreq_count(struct xensim *x, const struct xen_ioreq *p)
{
    struct counters *c = &x->count;
    _Atomic uint64_t *n = p->type == IOREQ_TYPE_PIO          ? &c->pio
                          : p->type == IOREQ_TYPE_COPY       ? &c->copy
                          : p->type == IOREQ_TYPE_PCI_CONFIG ? &c->pci_config
                          : p->type == IOREQ_TYPE_TIMEOFFSET ? &c->timeoffset
                          : p->type == IOREQ_TYPE_INVALIDATE ? &c->invalidate
                                                             : NULL;
    if (n)
        atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* Called by the vCPU, running. IO_RETRY: sent, and the vCPU is blocked. */
enum io_state ioreq_send(struct xensim *x, struct ioreq_server *s, unsigned vcpu,
                         const struct xen_ioreq *p)
{
    struct ioreq_vcpu *sv = &s->vcpu[vcpu];
    struct xen_ioreq *slot = server_slot(s, vcpu);
    uint8_t state = slot_state(slot);
    if (state != STATE_IOREQ_NONE) {
        console_log(x, "d%uv%u device model set bad IO state %d", XENSIM_DOMID, vcpu, state);
        return IO_UNHANDLED;
    }
    evtchn_port_t port = __atomic_load_n(&slot->vp_eport, __ATOMIC_RELAXED);
    if (port != sv->evtchn) {
        console_log(x, "d%uv%u device model set bad event channel %d", XENSIM_DOMID, vcpu,
                    (int)port);
        return IO_UNHANDLED;
    }

    uint8_t flags = p->state_flags & ~IOREQ_STATE_MASK;
    struct xen_ioreq copy = *p;
    copy.vp_eport = sv->evtchn;
    copy.state_flags = flags | STATE_IOREQ_NONE;
    memcpy(slot, &copy, sizeof copy);

    /* prepare_wait_on_xen_event_channel(): blocked first, then READY, then the notification. */
    atomic_store(&x->shared->vcpu[vcpu].blocked, VCPU_BLOCKED);
    __atomic_store_n(&slot->state_flags, flags | STATE_IOREQ_READY, __ATOMIC_SEQ_CST);
    evtchn_notify_server(x, sv->evtchn);
    sv->pending = true;
    sv->prev_state = STATE_IOREQ_NONE;
    ioreq_count(x, p);
    return IO_RETRY;
}

/* Until a notification on one of the vCPU's ports clears its blocked flag, or the domain ends. */
static void wait_while_blocked(struct xensim *x, unsigned vcpu)
{
    _Atomic uint32_t *word = &x->shared->vcpu[vcpu].blocked;
    uint64_t give_up = 0;
    for (unsigned spins = 1; x->spin_us; spins++) {
        if (atomic_load_explicit(word, memory_order_acquire) == VCPU_RUNNABLE)
            return;
        cpu_relax();
        if (spins % 64)
            continue;
        uint64_t now = now_ns();
        if (!give_up)
            give_up = now + (uint64_t)x->spin_us * NS_PER_US;
        else if (now >= give_up)
            break;
    }
    while (atomic_load(&x->run_state) == RUN_ALIVE) {
        uint32_t seen = VCPU_BLOCKED;
        if (!atomic_compare_exchange_strong(word, &seen, VCPU_BLOCKED_ASLEEP) &&
            seen == VCPU_RUNNABLE)
            return;
        syscall(SYS_futex, word, FUTEX_WAIT, VCPU_BLOCKED_ASLEEP, NULL, NULL, 0);
    }
}

/* Newest first, as FOR_EACH_IOREQ_SERVER. */
static struct ioreq_server *get_pending(struct xensim *x, unsigned vcpu)
{
    for (unsigned id = MAX_NR_IOREQ_SERVERS; id-- > 0;)
        if (x->server[id] && x->server[id]->vcpu[vcpu].pending)
            return x->server[id];
    return NULL;
}

enum look { LOOK_DONE, LOOK_BLOCK, LOOK_CRASH };

/* wait_for_io() up to where it would have to wait. */
static enum look look_at_slot(struct xensim *x, struct ioreq_server *s, unsigned vcpu,
                              struct xen_ioreq *answer)
{
    struct ioreq_vcpu *sv = &s->vcpu[vcpu];
    struct xen_ioreq *slot = server_slot(s, vcpu);
    _Atomic uint32_t *word = &x->shared->vcpu[vcpu].blocked;
    struct xen_ioreq *req = &x->vcpu[vcpu].req;
    uint64_t data = UINT64_MAX; /* NONE from the device model: it abandoned the request */
    bool answered = false;
    char reason[100];

    for (uint8_t state; (state = slot_state(slot)) != STATE_IOREQ_NONE;) {
        if (state < sv->prev_state) {
            snprintf(reason, sizeof reason, "d%uv%u Weird HVM ioreq state transition %u -> %u",
                     XENSIM_DOMID, vcpu, sv->prev_state, state);
            sv->pending = false;
            domain_crash(x, reason);
            return LOOK_CRASH;
        }
        if (state > STATE_IORESP_READY) {
            snprintf(reason, sizeof reason, "d%uv%u Weird HVM iorequest state %u", XENSIM_DOMID,
                     vcpu, state);
            sv->pending = false;
            domain_crash(x, reason);
            return LOOK_CRASH;
        }
        sv->prev_state = state;
        if (state == STATE_IORESP_READY) {
            data = __atomic_load_n(&slot->data, __ATOMIC_RELAXED);
            answered = true;
            break;
        }
        /* wait_on_xen_event_channel(): set the flag, look again, then sleep. */
        atomic_store(word, VCPU_BLOCKED);
        if (slot_state(slot) == state)
            return LOOK_BLOCK;
        atomic_store(word, VCPU_RUNNABLE);
    }

    if (answer)
        memcpy(answer, slot, sizeof *answer);
    if (answered)
        set_slot_state(slot, STATE_IOREQ_NONE);
    if (ioreq_needs_completion(req))
        req->data = data;
    sv->pending = false;
    return LOOK_DONE;
}

/*
 * Wait for every request that this vCPU has sent. Called and left without the vCPU's lock.
 * XENSIM_HANDLED: v->req.data holds the answer. Only a notification makes the vCPU look at a
 * slot, whatever the slot says meanwhile.
 */
enum xensim_result ioreq_handle_completion(struct xensim *x, unsigned vcpu,
                                           struct xen_ioreq *answer)
{
    struct vcpu *v = &x->vcpu[vcpu];
    for (;;) {
        wait_while_blocked(x, vcpu);
        if (!vcpu_enter(x, v))
            return vcpu_gone(x);
        enum look look = LOOK_DONE;
        for (struct ioreq_server *s; look == LOOK_DONE && (s = get_pending(x, vcpu));)
            look = look_at_slot(x, s, vcpu, answer);
        vcpu_leave(v);
        if (look == LOOK_CRASH)
            return XENSIM_CRASHED;
        if (look == LOOK_DONE) {
            atomic_fetch_add_explicit(&x->count.retried, 1, memory_order_relaxed);
            return XENSIM_HANDLED;
        }
    }
}

/* Returns how many servers could not be reached. Called by a running vCPU, or, buffered, by
 * anyone who holds server_lock. */
unsigned ioreq_broadcast(struct xensim *x, unsigned vcpu, const struct xen_ioreq *p, bool buffered)
{
    unsigned failed = 0;
    for (unsigned id = MAX_NR_IOREQ_SERVERS; id-- > 0;) {
        struct ioreq_server *s = x->server[id];
        if (!s || !s->enabled ||
            (buffered && s->bufioreq_handling == HVM_IOREQSRV_BUFIOREQ_OFF))
            continue;
        enum io_state sent = buffered ? ioreq_send_buffered(x, s, p) : ioreq_send(x, s, vcpu, p);
        if (sent == IO_UNHANDLED)
            failed++;
    }
    return failed;
}

/* ioreq_signal_mapcache_invalidate(). */
enum xensim_result xensim_vcpu_invalidate(struct xensim *x, unsigned vcpu)
{
    const struct xen_ioreq p = {
        .type = IOREQ_TYPE_INVALIDATE, .size = 4, .data = UINT64_MAX, /* flush all */
    };
    if (vcpu >= x->vcpus)
        return XENSIM_STOPPED;
    struct vcpu *v = &x->vcpu[vcpu];
    if (!vcpu_enter(x, v))
        return vcpu_gone(x);
    v->req = (struct xen_ioreq){.state_flags = STATE_IOREQ_NONE};
    if (ioreq_broadcast(x, vcpu, &p, false))
        console_log(x, "d%uv%u Unsuccessful map-cache invalidate", XENSIM_DOMID, vcpu);
    bool sent = get_pending(x, vcpu) != NULL;
    vcpu_leave(v);
    return sent ? ioreq_handle_completion(x, vcpu, NULL) : XENSIM_HANDLED;
}

void xensim_send_timeoffset(struct xensim *x, int64_t seconds)
{
    const struct xen_ioreq p = {
        .type = IOREQ_TYPE_TIMEOFFSET, .size = 8, .count = 1, .data = (uint64_t)seconds,
    };
    if (!seconds)
        return;
    pthread_mutex_lock(&x->server_lock);
    if (ioreq_broadcast(x, 0, &p, true))
        console_log(x, "d%uv0 Unsuccessful timeoffset update", XENSIM_DOMID);
    pthread_mutex_unlock(&x->server_lock);
}
