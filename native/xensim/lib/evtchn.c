/* SPDX-License-Identifier: MIT */
/*
 * libxenevtchn.so.1. Source of the behaviour: Xen tools/libs/evtchn/linux.c, Linux
 * drivers/xen/evtchn.c.
 *
 * The descriptor is one end of a stream pair: reading gives port numbers, writing unmasks. The
 * host has the other end, and so have we, to queue a port that became pending while it was masked.
 */
#include "client.h"
#include "xen.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BITS_PER_WORD 64

struct xenevtchn_handle {
    Xentoolcore__Active_Handle active;
    struct client client;
    int fd;      /* the user's end */
    int host_fd; /* a copy of the host's end */
    struct wire_shared *shared;
    _Atomic uint64_t bound[WIRE_NR_PORTS / BITS_PER_WORD];
};

EXPORT int xenevtchn_restrict(xenevtchn_handle *xce, domid_t domid)
{
    struct client_call call = {.request = {.op = WIRE_RESTRICT, .domid = domid}};
    return client_call(&xce->client, &call);
}

static int restrict_handle(Xentoolcore__Active_Handle *active, domid_t domid)
{
    xenevtchn_handle *xce = (xenevtchn_handle *)active;
    return xce->client.fd < 0 ? 0 : xenevtchn_restrict(xce, domid);
}

static xenevtchn_handle *alloc_handle(void)
{
    xenevtchn_handle *xce = calloc(1, sizeof *xce);
    if (!xce)
        return NULL;
    xce->client.fd = xce->fd = xce->host_fd = -1;
    xce->active.restrict_callback = restrict_handle;
    xentoolcore__register_active_handle(&xce->active);
    return xce;
}

static int map_shared(xenevtchn_handle *xce, int shared_fd)
{
    void *at = mmap(NULL, sizeof *xce->shared, PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
    int error = errno;
    close(shared_fd);
    if (at == MAP_FAILED) {
        errno = error;
        return -1;
    }
    xce->shared = at;
    return 0;
}

EXPORT int xenevtchn_close(xenevtchn_handle *xce)
{
    if (!xce)
        return 0;
    int error = errno;
    xentoolcore__deregister_active_handle(&xce->active);
    if (xce->host_fd >= 0)
        close(xce->host_fd);
    int rc = xce->fd >= 0 ? close(xce->fd) : 0;
    if (xce->client.fd >= 0 && xce->shared) {
        /* close() of the real device returns with the ports closed. */
        struct client_call call = {.request = {.op = WIRE_SYNC}};
        client_call(&xce->client, &call);
    }
    client_close(&xce->client);
    if (xce->shared)
        munmap(xce->shared, sizeof *xce->shared);
    free(xce);
    if (!rc)
        errno = error;
    return rc;
}

static int open_pair(xenevtchn_handle *xce, unsigned int flags)
{
    int pair[2];
    struct stat st;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return -1;
    xce->fd = pair[0];
    xce->host_fd = pair[1];
    if (flags & XENEVTCHN_NO_CLOEXEC)
        fcntl(xce->fd, F_SETFD, 0);
    if (fstat(xce->fd, &st))
        return -1;
    struct client_call call = {
        .request = {.op = WIRE_EVTCHN_OPEN, .a = st.st_ino}, .in_fd = xce->host_fd + 1,
    };
    return client_call(&xce->client, &call) ? -1 : map_shared(xce, call.out_fd[0]);
}

EXPORT xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
    (void)logger;
    if (flags & ~XENEVTCHN_NO_CLOEXEC) {
        errno = EINVAL;
        return NULL;
    }
    xenevtchn_handle *xce = alloc_handle();
    if (!xce)
        return NULL;
    if (!client_open(&xce->client, WIRE_EVTCHN) && !open_pair(xce, flags))
        return xce;
    xenevtchn_close(xce);
    return NULL;
}

EXPORT xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd,
                                          unsigned int flags)
{
    (void)logger;
    struct stat st;
    if (flags) {
        errno = EINVAL;
        return NULL;
    }
    if (fstat(fd, &st))
        return NULL;
    xenevtchn_handle *xce = alloc_handle();
    if (!xce)
        return NULL;
    uint8_t bound[WIRE_NR_PORTS / 8];
    struct client_call call = {
        .request = {.op = WIRE_EVTCHN_ATTACH, .a = st.st_ino},
        .out = {bound}, .out_length = {sizeof bound},
    };
    if (client_open(&xce->client, WIRE_EVTCHN) || client_call(&xce->client, &call) ||
        map_shared(xce, call.out_fd[0])) {
        xenevtchn_close(xce);
        return NULL;
    }
    xce->fd = fd;
    xce->host_fd = call.out_fd[1];
    for (evtchn_port_t port = 0; port < WIRE_NR_PORTS; port++)
        if (bound[port / 8] & 1u << port % 8)
            xce->bound[port / BITS_PER_WORD] |= UINT64_C(1) << port % BITS_PER_WORD;
    return xce;
}

EXPORT int xenevtchn_fd(xenevtchn_handle *xce)
{
    return xce->fd;
}

/* ---- binding ---- */

static xenevtchn_port_or_error_t bind_port(xenevtchn_handle *xce, struct wire_request request)
{
    struct client_call call = {.request = request};
    if (client_call(&xce->client, &call))
        return -1;
    atomic_fetch_or(&xce->bound[call.a / BITS_PER_WORD], UINT64_C(1) << call.a % BITS_PER_WORD);
    return (xenevtchn_port_or_error_t)call.a;
}

EXPORT xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
                                                            evtchn_port_t remote_port)
{
    return bind_port(xce, (struct wire_request){
                              .op = WIRE_BIND_INTERDOMAIN, .domid = domid, .a = remote_port});
}

EXPORT xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *xce, uint32_t domid)
{
    return bind_port(xce, (struct wire_request){.op = WIRE_BIND_UNBOUND, .domid = domid});
}

EXPORT xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
    return bind_port(xce, (struct wire_request){.op = WIRE_BIND_VIRQ, .a = virq});
}

EXPORT int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    /* Ours no longer from here on: the number may go to another handle before we are told. */
    if (port < WIRE_NR_PORTS)
        atomic_fetch_and(&xce->bound[port / BITS_PER_WORD],
                         ~(UINT64_C(1) << port % BITS_PER_WORD));
    struct client_call call = {.request = {.op = WIRE_UNBIND, .a = port}};
    return client_call(&xce->client, &call);
}

/* ---- events ---- */

static int is_bound(xenevtchn_handle *xce, evtchn_port_t port)
{
    return port < WIRE_NR_PORTS &&
           atomic_load_explicit(&xce->bound[port / BITS_PER_WORD], memory_order_relaxed) >>
                   port % BITS_PER_WORD & 1;
}

EXPORT int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (!is_bound(xce, port)) {
        errno = ENOTCONN;
        return -1;
    }
    uint32_t vcpu = atomic_load_explicit(&xce->shared->port[port].vcpu, memory_order_relaxed);
    if (vcpu >= HVM_MAX_VCPUS)
        return 0; /* no other end: Xen drops it without a word */
    struct wire_vcpu *v = &xce->shared->vcpu[vcpu];
    atomic_fetch_add_explicit(&v->notified, 1, memory_order_relaxed);
    if (atomic_exchange(&v->blocked, VCPU_RUNNABLE) == VCPU_BLOCKED_ASLEEP)
        syscall(SYS_futex, &v->blocked, FUTEX_WAKE, 1, NULL, NULL, 0);
    return 0;
}

EXPORT xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
    evtchn_port_t port;
    if (read(xce->fd, &port, sizeof port) != sizeof port)
        return -1;
    return (xenevtchn_port_or_error_t)port;
}

/* The device ignores ports that are not the writer's. */
EXPORT int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (is_bound(xce, port) && wire_unmask(&xce->shared->port[port]))
        (void)!send(xce->host_fd, &port, sizeof port, MSG_DONTWAIT | MSG_NOSIGNAL);
    return 0;
}
