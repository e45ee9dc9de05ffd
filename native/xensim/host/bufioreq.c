/* SPDX-License-Identifier: MIT */
/* The buffered ring, producer's side. Source: Xen common/ioreq.c, ioreq_send_buffered(). */
#include "internal.h"

static struct xen_buf_ioreq encode(const struct xen_ioreq *p, unsigned size_code)
{
    uint32_t dir = p->state_flags & IOREQ_DIR_READ ? 1 : 0;
    return (struct xen_buf_ioreq){
        .head = p->type | dir << 9 | size_code << 10 | (uint32_t)p->addr << 12,
        .data = (uint32_t)p->data,
    };
}

/*
 * Bring both pointers below 511 again, so that they never wrap at 2^32, which is no multiple of
 * 511. The consumer adds to read_pointer meanwhile, and it is not trusted: a compare-and-swap of
 * the pair, a bounded number of times.
 */
static void canonicalise(struct xen_buffered_iopage *ring, unsigned tries)
{
    for (; tries < IOREQ_BUFFER_SLOT_NUM; tries++) {
        union {
            struct { uint32_t read_pointer, write_pointer; };
            uint64_t full;
        } old, new;
        old.full = __atomic_load_n(&ring->pointers, __ATOMIC_ACQUIRE);
        if (old.read_pointer < IOREQ_BUFFER_SLOT_NUM)
            return;
        uint32_t n = old.read_pointer / IOREQ_BUFFER_SLOT_NUM * IOREQ_BUFFER_SLOT_NUM;
        new.read_pointer = old.read_pointer - n;
        new.write_pointer = old.write_pointer - n;
        __atomic_compare_exchange_n(&ring->pointers, &old.full, new.full, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    }
}

enum io_state ioreq_send_buffered(struct xensim *x, struct ioreq_server *s,
                                  const struct xen_ioreq *p)
{
    if (!s->allocated || s->bufioreq_handling == HVM_IOREQSRV_BUFIOREQ_OFF)
        return IO_UNHANDLED;
    /* An entry has 20 bits of address and neither a count nor a pointer flag. */
    if (p->addr > 0xfffff || p->state_flags & IOREQ_DATA_IS_PTR || p->count != 1)
        return IO_UNHANDLED;
    unsigned code = p->size == 1 ? 0 : p->size == 2 ? 1 : p->size == 4 ? 2 : p->size == 8 ? 3 : 4;
    if (code == 4) {
        console_log(x, "unexpected ioreq size: %u", p->size);
        return IO_UNHANDLED;
    }
    unsigned qw = code == 3; /* 8 bytes take two consecutive slots, low half first */

    struct xen_buffered_iopage *ring = (struct xen_buffered_iopage *)s->frames;
    pthread_mutex_lock(&s->bufioreq_lock);
    uint32_t write = __atomic_load_n(&ring->write_pointer, __ATOMIC_RELAXED);
    uint32_t read = __atomic_load_n(&ring->read_pointer, __ATOMIC_ACQUIRE);
    if (write - read >= IOREQ_BUFFER_SLOT_NUM - qw) {
        pthread_mutex_unlock(&s->bufioreq_lock);
        return IO_UNHANDLED;
    }
    struct xen_buf_ioreq entry = encode(p, code);
    ring->slot[write % IOREQ_BUFFER_SLOT_NUM] = entry;
    if (qw) {
        entry.data = (uint32_t)(p->data >> 32);
        ring->slot[(write + 1) % IOREQ_BUFFER_SLOT_NUM] = entry;
    }
    /* Both halves become visible at once. */
    __atomic_fetch_add(&ring->write_pointer, 1 + qw, __ATOMIC_SEQ_CST);
    if (s->bufioreq_handling == HVM_IOREQSRV_BUFIOREQ_ATOMIC)
        canonicalise(ring, qw);
    evtchn_notify_server(x, s->bufioreq_evtchn);
    pthread_mutex_unlock(&s->bufioreq_lock);

    atomic_fetch_add_explicit(&x->count.buffered, 1, memory_order_relaxed);
    ioreq_count(x, p);
    return IO_HANDLED;
}

enum xensim_result xensim_raw_buffered(struct xensim *x, const void *ioreq32)
{
    enum io_state sent = IO_UNHANDLED;
    const struct xen_ioreq *p = ioreq32;
    pthread_mutex_lock(&x->server_lock);
    for (unsigned id = MAX_NR_IOREQ_SERVERS; id-- > 0;) {
        struct ioreq_server *s = x->server[id];
        if (!s || !s->enabled || s->bufioreq_handling == HVM_IOREQSRV_BUFIOREQ_OFF)
            continue;
        sent = ioreq_send_buffered(x, s, p);
        break;
    }
    pthread_mutex_unlock(&x->server_lock);
    return sent == IO_HANDLED ? XENSIM_HANDLED : XENSIM_UNHANDLED;
}
