/* SPDX-License-Identifier: MIT */
/*
 * Event channels between the guest domain (Xen's ends) and dom0 (device models).
 * Source: Xen common/event_channel.c; Linux drivers/xen/evtchn.c for dom0's side.
 */
#include "internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int evtchn_start(struct xensim *x)
{
    x->shared_fd = named_memfd(x, "evtchn", sizeof *x->shared);
    if (x->shared_fd < 0)
        return errno;
    void *at = mmap(NULL, sizeof *x->shared, PROT_READ | PROT_WRITE, MAP_SHARED, x->shared_fd, 0);
    if (at == MAP_FAILED)
        return errno;
    x->shared = at;
    for (unsigned i = 0; i < WIRE_NR_PORTS; i++)
        atomic_store(&x->shared->port[i].vcpu, WIRE_NO_VCPU);

    x->chan = calloc(NR_CHANS, sizeof *x->chan);
    if (!x->chan)
        return ENOMEM;
    for (unsigned i = 0; i < NR_CHANS; i++)
        pthread_mutex_init(&x->chan[i].lock, NULL);
    /* Port 0 is never valid; the domain builder made 1 and 2 for xenstore and the console. */
    for (unsigned i = 0; i < 3; i++)
        x->chan[i].state = ECS_RESERVED;
    return 0;
}

void evtchn_free(struct xensim *x)
{
    while (x->users)
        evtchn_user_release(x, x->users);
    if (x->chan)
        for (unsigned i = 0; i < NR_CHANS; i++)
            pthread_mutex_destroy(&x->chan[i].lock);
    free(x->chan);
    if (x->shared)
        munmap(x->shared, sizeof *x->shared);
    if (x->shared_fd >= 0)
        close(x->shared_fd);
}

/* ---- Xen's ends ---- */

int evtchn_alloc_unbound(struct xensim *x, unsigned vcpu, evtchn_port_t *port)
{
    pthread_mutex_lock(&x->evtchn_lock);
    unsigned i = 0;
    while (i < NR_CHANS && x->chan[i].state != ECS_FREE)
        i++;
    if (i < NR_CHANS) {
        pthread_mutex_lock(&x->chan[i].lock);
        x->chan[i].state = ECS_UNBOUND;
        x->chan[i].vcpu = vcpu;
        pthread_mutex_unlock(&x->chan[i].lock);
        *port = i;
    }
    pthread_mutex_unlock(&x->evtchn_lock);
    return i < NR_CHANS ? 0 : ENOSPC;
}

/* dom0's end, when there is one, stays as an unbound port whose notifications go nowhere. */
void evtchn_close_xen_end(struct xensim *x, evtchn_port_t port)
{
    pthread_mutex_lock(&x->evtchn_lock);
    struct chan *c = &x->chan[port];
    pthread_mutex_lock(&c->lock);
    if (c->state == ECS_INTERDOMAIN) {
        x->local[c->local].remote = 0;
        atomic_store(&x->shared->port[c->local].vcpu, WIRE_NO_VCPU);
    }
    c->state = ECS_FREE;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&x->evtchn_lock);
}

static void queue_port(int fd, evtchn_port_t port)
{
    /* A full queue means a client that unmasks and never reads. Its loss. */
    (void)!send(fd, &port, sizeof port, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* notify_via_xen_event_channel(): nothing happens unless dom0 has bound the port. */
void evtchn_notify_server(struct xensim *x, evtchn_port_t port)
{
    struct chan *c = &x->chan[port];
    pthread_mutex_lock(&c->lock);
    if (c->state == ECS_INTERDOMAIN) {
        atomic_fetch_add_explicit(&x->count.notify_to_server, 1, memory_order_relaxed);
        if (wire_deliver(&x->shared->port[c->local]))
            queue_port(c->fd, c->local);
    } else {
        atomic_fetch_add_explicit(&x->count.notify_dropped, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&c->lock);
}

/* So that every vCPU looks at run_state again. */
void evtchn_wake_all(struct xensim *x)
{
    for (unsigned i = 0; i < x->vcpus; i++) {
        _Atomic uint32_t *word = &x->shared->vcpu[i].blocked;
        atomic_store(word, VCPU_RUNNABLE);
        syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

/* ---- dom0's ends ---- */

struct evtchn_user *evtchn_user_open(struct xensim *x, int fd, uint64_t client_inode)
{
    struct evtchn_user *user = calloc(1, sizeof *user);
    if (!user)
        return NULL;
    user->fd = fd;
    user->client_inode = client_inode;
    user->restrict_domid = -1;
    pthread_mutex_lock(&x->evtchn_lock);
    user->next = x->users;
    x->users = user;
    pthread_mutex_unlock(&x->evtchn_lock);
    atomic_fetch_add(&x->count.clients, 1);
    return user;
}

struct evtchn_user *evtchn_user_find(struct xensim *x, uint64_t client_inode)
{
    pthread_mutex_lock(&x->evtchn_lock);
    struct evtchn_user *user = x->users;
    while (user && user->client_inode != client_inode)
        user = user->next;
    pthread_mutex_unlock(&x->evtchn_lock);
    return user;
}

/* Whether the last copy of the client's descriptor is gone, also when nobody told us yet. */
bool evtchn_user_closed(const struct evtchn_user *user)
{
    uint8_t byte;
    ssize_t n = recv(user->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void unbind_locked(struct xensim *x, evtchn_port_t local)
{
    struct local_port *l = &x->local[local];
    atomic_store(&x->shared->port[local].vcpu, WIRE_NO_VCPU);
    if (l->remote) {
        struct chan *c = &x->chan[l->remote];
        pthread_mutex_lock(&c->lock);
        c->state = ECS_UNBOUND; /* for the same remote domain: a new process may bind it */
        pthread_mutex_unlock(&c->lock);
    }
    l->remote = 0;
    l->user = NULL;
}

static void release_locked(struct xensim *x, struct evtchn_user *user)
{
    for (evtchn_port_t port = 1; port < WIRE_NR_PORTS; port++)
        if (x->local[port].user == user)
            unbind_locked(x, port);
    struct evtchn_user **link = &x->users;
    while (*link != user)
        link = &(*link)->next;
    *link = user->next;
    /* The client has its own copy of our end: closing ours alone would neither tell it nor take
     * the descriptor out of the epoll set. */
    epoll_ctl(x->epoll_fd, EPOLL_CTL_DEL, user->fd, NULL);
    shutdown(user->fd, SHUT_RDWR);
    close(user->fd);
    free(user);
    atomic_fetch_sub(&x->count.clients, 1);
}

void evtchn_user_release(struct xensim *x, struct evtchn_user *user)
{
    pthread_mutex_lock(&x->evtchn_lock);
    release_locked(x, user);
    pthread_mutex_unlock(&x->evtchn_lock);
}

void evtchn_user_ports(struct xensim *x, const struct evtchn_user *user,
                       uint8_t bitmap[WIRE_NR_PORTS / 8])
{
    memset(bitmap, 0, WIRE_NR_PORTS / 8);
    pthread_mutex_lock(&x->evtchn_lock);
    for (evtchn_port_t port = 1; port < WIRE_NR_PORTS; port++)
        if (x->local[port].user == user)
            bitmap[port / 8] |= (uint8_t)(1u << port % 8);
    pthread_mutex_unlock(&x->evtchn_lock);
}

/* Whoever reads and writes /dev/xen/evtchn directly unmasks by writing port numbers. */
void evtchn_user_written(struct xensim *x, struct evtchn_user *user, const uint8_t *bytes,
                         size_t length)
{
    for (size_t i = 0; i < length; i++) {
        user->partial_bytes[user->partial++] = bytes[i];
        if (user->partial < sizeof(evtchn_port_t))
            continue;
        user->partial = 0;
        evtchn_port_t port;
        memcpy(&port, user->partial_bytes, sizeof port);
        pthread_mutex_lock(&x->evtchn_lock);
        if (port < WIRE_NR_PORTS && x->local[port].user == user &&
            wire_unmask(&x->shared->port[port]))
            queue_port(user->fd, port);
        pthread_mutex_unlock(&x->evtchn_lock);
    }
}

static int alloc_local_locked(struct xensim *x, struct evtchn_user *user, evtchn_port_t *local)
{
    evtchn_port_t port = 1;
    while (port < WIRE_NR_PORTS && x->local[port].user)
        port++;
    if (port == WIRE_NR_PORTS)
        return ENOSPC;
    x->local[port].user = user;
    x->local[port].remote = 0;
    struct wire_port *p = &x->shared->port[port];
    atomic_store(&p->vcpu, WIRE_NO_VCPU);
    atomic_store(&p->pending, 0);
    atomic_store(&p->masked, 0);
    *local = port;
    return 0;
}

/* A local port with no other end: bind_unbound_port() and VIRQs that never fire. */
int evtchn_bind_local(struct xensim *x, struct evtchn_user *user, evtchn_port_t *local)
{
    pthread_mutex_lock(&x->evtchn_lock);
    int error = alloc_local_locked(x, user, local);
    pthread_mutex_unlock(&x->evtchn_lock);
    return error;
}

int evtchn_bind_interdomain(struct xensim *x, struct evtchn_user *user, uint32_t domid,
                            uint64_t remote, evtchn_port_t *local)
{
    if (domid == 0)
        return EINVAL; /* dom0 has no port that waits for itself */
    if (domid != XENSIM_DOMID || !domain_exists(x))
        return ESRCH;
    if (remote >= NR_CHANS)
        return EINVAL;

    pthread_mutex_lock(&x->evtchn_lock);
    struct chan *c = &x->chan[remote];
    /* A killed process may have been reaped before the io thread saw its descriptor close. */
    if (c->state == ECS_INTERDOMAIN) {
        struct evtchn_user *holder = x->local[c->local].user;
        if (holder != user && evtchn_user_closed(holder))
            release_locked(x, holder);
    }
    int error = c->state == ECS_UNBOUND ? alloc_local_locked(x, user, local) : EINVAL;
    if (!error) {
        x->local[*local].remote = (evtchn_port_t)remote;
        atomic_store(&x->shared->port[*local].vcpu, c->vcpu);
        pthread_mutex_lock(&c->lock);
        c->state = ECS_INTERDOMAIN;
        c->local = *local;
        c->fd = user->fd;
        /* Notifications may have been lost while nobody was bound, so Xen raises one now. */
        if (wire_deliver(&x->shared->port[*local]))
            queue_port(c->fd, *local);
        pthread_mutex_unlock(&c->lock);
    }
    pthread_mutex_unlock(&x->evtchn_lock);
    return error;
}

int evtchn_unbind(struct xensim *x, struct evtchn_user *user, uint64_t local)
{
    if (local >= WIRE_NR_PORTS)
        return EINVAL;
    pthread_mutex_lock(&x->evtchn_lock);
    int error = x->local[local].user == user ? 0 : ENOTCONN;
    if (!error)
        unbind_locked(x, (evtchn_port_t)local);
    pthread_mutex_unlock(&x->evtchn_lock);
    return error;
}
