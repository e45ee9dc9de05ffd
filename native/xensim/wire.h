/* SPDX-License-Identifier: MIT */
/*
 * Private protocol between the client libraries (lib/) and the host (host/). Not an interface:
 * both sides are built from one tree.
 *
 * Every library handle has its own SEQPACKET connection: one request datagram, one reply
 * datagram, file descriptors by SCM_RIGHTS. Notifying and unmasking do not use it: they work on
 * struct wire_shared, which every event-channel handle maps.
 */
#ifndef XENSIM_WIRE_H
#define XENSIM_WIRE_H

#include "abi.h"

#include <stdatomic.h>

#define WIRE_SOCKET_ENV "XENSIM_SOCKET"

enum wire_op {
    WIRE_HELLO,            /* a = enum wire_kind */
    WIRE_RESTRICT,         /* domid */
    WIRE_DM_OP,            /* domid, a = size of buffer 0, b = size of buffer 1, c = buffers;
                              they follow. Reply: the same */
    WIRE_MAP,              /* domid, a = count; gfns (u64) follow. Reply: u64 per page, see below */
    WIRE_MAP_SPECIAL,      /* domid, a = gfn. Reply: fd, a = page of the file */
    WIRE_RAM,              /* domid. Reply: fd of guest RAM */
    WIRE_RESOURCE,         /* domid, a = type, b = id, c = frame, d = nr_frames. Reply: fd */
    WIRE_RESOURCE_SIZE,    /* domid, a = type, b = id. Reply: a = frames */
    WIRE_EVTCHN_OPEN,      /* a = inode of the client's end; fd = host's end. Reply: fd of wire_shared */
    WIRE_EVTCHN_ATTACH,    /* a = inode of the client's end. Reply: fds of wire_shared and the host's
                              end, then the bitmap of bound ports */
    WIRE_BIND_INTERDOMAIN, /* domid, a = remote port. Reply: a = local port */
    WIRE_BIND_UNBOUND,     /* domid. Reply: a = local port */
    WIRE_BIND_VIRQ,        /* a = virq. Reply: a = local port */
    WIRE_UNBIND,           /* a = local port */
    WIRE_SYNC,             /* the client's end was closed: drop the ports before replying */
};

enum wire_kind { WIRE_DEVICEMODEL, WIRE_FOREIGNMEMORY, WIRE_EVTCHN };

struct wire_request {
    uint32_t op;
    uint32_t domid;
    uint64_t a, b, c, d;
};

struct wire_reply {
    int32_t error; /* an errno, or 0 */
    uint32_t pad;
    uint64_t a;
};

/* Linux privcmd_dm_op_buf_max_size: a larger buffer is E2BIG. */
#define WIRE_DM_OP_BUF_MAX 4096u
#define WIRE_MAP_MAX 2048u
#define WIRE_PAYLOAD_MAX (WIRE_MAP_MAX * 8)

/* One page of a WIRE_MAP reply: an errno, or a page number in the RAM file, or "ask again with
 * WIRE_MAP_SPECIAL" for a legacy ioreq gfn, whose page is not guest RAM. */
#define WIRE_PAGE_ERROR (UINT64_C(1) << 63)
#define WIRE_PAGE_SPECIAL (UINT64_C(1) << 62)

/* ---- shared memory ---- */

#define WIRE_NR_PORTS 4096u
#define WIRE_NO_VCPU UINT32_MAX

/* _VPF_blocked_in_xen of one vCPU. A notification on any port of this vCPU clears it. */
enum { VCPU_RUNNABLE, VCPU_BLOCKED, VCPU_BLOCKED_ASLEEP };

struct wire_vcpu {
    _Alignas(64) _Atomic uint32_t blocked; /* futex word */
    _Atomic uint64_t notified;             /* notifications from dom0, ever */
};

/* One event channel port of dom0. */
struct wire_port {
    _Alignas(64) _Atomic uint32_t pending;
    _Atomic uint32_t masked; /* delivered and not yet unmasked by its reader */
    _Atomic uint32_t vcpu;   /* whose Xen end this notifies; WIRE_NO_VCPU when there is none */
};

struct wire_shared {
    struct wire_vcpu vcpu[HVM_MAX_VCPUS];
    struct wire_port port[WIRE_NR_PORTS];
};

/*
 * Deliver an event on a dom0 port. True when the caller has to queue the port number to the
 * reader. As Linux's evtchn driver: delivery masks; while masked, events collapse into one
 * pending bit. Correct against a concurrent wire_unmask() because both sides write their own
 * flag before reading the other's.
 */
static inline int wire_deliver(struct wire_port *p)
{
    if (atomic_exchange(&p->pending, 1) || atomic_exchange(&p->masked, 1))
        return 0;
    atomic_exchange(&p->pending, 0);
    return 1;
}

/* Unmask a port. True when an event came meanwhile and the caller has to queue the port number. */
static inline int wire_unmask(struct wire_port *p)
{
    atomic_store(&p->masked, 0);
    if (!atomic_load(&p->pending) || atomic_exchange(&p->masked, 1))
        return 0;
    atomic_exchange(&p->pending, 0);
    return 1;
}

#endif
