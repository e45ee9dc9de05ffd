/* SPDX-License-Identifier: MIT */
/* What the client libraries may ask for. Source of the checks: Linux drivers/xen/{privcmd,evtchn}.c,
 * Xen common/memory.c for resources. */
#include "control.h"

#include <errno.h>
#include <string.h>

#define NR_VIRQS 24 /* public/xen.h */

/* Linux privcmd: a restricted descriptor serves one domain. */
static int restricted(const struct connection *c, uint32_t domid)
{
    return c->restrict_domid >= 0 && (uint32_t)c->restrict_domid != domid ? EPERM : 0;
}

static int op_restrict(struct xensim *x, struct exchange *e)
{
    uint32_t domid = e->in.request.domid;
    if (e->c->kind == WIRE_EVTCHN) {
        struct evtchn_user *user = evtchn_user_find(x, e->c->client_inode);
        if (!user)
            return EBADF;
        if (user->restrict_domid >= 0)
            return EACCES;
        if (domid == 0 || domid >= DOMID_FIRST_RESERVED)
            return EINVAL;
        user->restrict_domid = (int)domid;
        return 0;
    }
    if (e->c->restrict_domid >= 0 && (uint32_t)e->c->restrict_domid != domid)
        return EINVAL;
    e->c->restrict_domid = (int)domid;
    return 0;
}

static int op_dm_op(struct xensim *x, struct exchange *e)
{
    const struct wire_request *r = &e->in.request;
    if (r->a > WIRE_DM_OP_BUF_MAX || r->b > WIRE_DM_OP_BUF_MAX || r->a + r->b != e->in_length)
        return EFAULT;
    int error = restricted(e->c, r->domid);
    if (!error)
        error = dm_op(x, r->domid, e->in.payload, r->a, r->c > 1 ? e->in.payload + r->a : NULL, r->b);
    if (!error) {
        memcpy(e->out.payload, e->in.payload, e->in_length);
        e->out_length = e->in_length;
    }
    return error;
}

/* Errors are per page: an unknown domain is an error of every page (Linux privcmd MMAPBATCH_V2). */
static int op_map(struct xensim *x, struct exchange *e)
{
    const struct wire_request *r = &e->in.request;
    int error = restricted(e->c, r->domid);
    if (!error && (r->a > WIRE_MAP_MAX || r->a * 8 != e->in_length))
        error = EFAULT;
    if (error)
        return error;
    bool exists = r->domid == XENSIM_DOMID && domain_exists(x);
    for (uint64_t i = 0; i < r->a; i++) {
        uint64_t gfn, page;
        memcpy(&gfn, e->in.payload + i * 8, 8);
        if (!exists)
            page = WIRE_PAGE_ERROR | ESRCH;
        else if (gfn - SPECIAL_GFN_BASE < NR_SPECIAL_GFNS && !server_special_frame(x, gfn, NULL, &page))
            page = WIRE_PAGE_SPECIAL;
        else
            page = memory_lookup(x, gfn);
        memcpy(e->out.payload + i * 8, &page, 8);
    }
    e->out_length = r->a * 8;
    return 0;
}

static void send_fd(struct exchange *e, int fd, bool close_it)
{
    e->out_fd[e->out_fds++] = fd;
    e->close_out_fds = close_it;
}

static int op_frames(struct xensim *x, struct exchange *e)
{
    const struct wire_request *r = &e->in.request;
    int fd = -1, error = restricted(e->c, r->domid);
    if (error)
        return error;
    if (r->domid == 0 || r->domid == DOMID_SELF)
        return EPERM;
    if (r->domid != XENSIM_DOMID || !domain_exists(x))
        return ESRCH;
    switch (r->op) {
    case WIRE_RAM:
        send_fd(e, x->ram_fd, false);
        return 0;
    case WIRE_MAP_SPECIAL:
        error = server_special_frame(x, r->a, &fd, &e->out.reply.a);
        break;
    case WIRE_RESOURCE_SIZE:
        if (r->a != XENMEM_resource_ioreq_server)
            return EINVAL;
        /* The size does not depend on the server, which is not looked at. */
        e->out.reply.a = 1 + (x->vcpus * sizeof(struct xen_ioreq) + XEN_PAGE_SIZE - 1) / XEN_PAGE_SIZE;
        return 0;
    default:
        if (r->a != XENMEM_resource_ioreq_server)
            return EINVAL;
        error = r->b > UINT32_MAX ? EINVAL : server_frames(x, (uint32_t)r->b, r->c, r->d, &fd);
    }
    if (!error)
        send_fd(e, fd, true);
    return error;
}

static int op_evtchn_open(struct xensim *x, struct exchange *e)
{
    if (e->c->kind != WIRE_EVTCHN || e->c->client_inode || e->in_fd < 0)
        return EINVAL;
    struct evtchn_user *user = evtchn_user_open(x, e->in_fd, e->in.request.a);
    if (!user)
        return ENOMEM;
    e->in_fd = -1;
    e->c->client_inode = user->client_inode;
    if (control_watch_user(x, user)) {
        int error = errno;
        evtchn_user_release(x, user);
        return error;
    }
    send_fd(e, x->shared_fd, false);
    return 0;
}

/* xenevtchn_fdopen(): the descriptor came through exec(), nothing else did. */
static int op_evtchn_attach(struct xensim *x, struct exchange *e)
{
    struct evtchn_user *user = evtchn_user_find(x, e->in.request.a);
    if (e->c->kind != WIRE_EVTCHN || e->c->client_inode || !user)
        return ENOTTY;
    e->c->client_inode = user->client_inode;
    send_fd(e, x->shared_fd, false);
    send_fd(e, user->fd, false);
    evtchn_user_ports(x, user, e->out.payload);
    e->out_length = WIRE_NR_PORTS / 8;
    return 0;
}

static int op_evtchn(struct xensim *x, struct exchange *e)
{
    const struct wire_request *r = &e->in.request;
    struct evtchn_user *user =
        e->c->kind == WIRE_EVTCHN ? evtchn_user_find(x, e->c->client_inode) : NULL;
    if (!user)
        return r->op == WIRE_SYNC ? 0 : EBADF;
    int only = user->restrict_domid, error = EINVAL;
    evtchn_port_t port = 0;
    switch (r->op) {
    case WIRE_SYNC:
        if (evtchn_user_closed(user))
            evtchn_user_release(x, user);
        return 0;
    case WIRE_BIND_INTERDOMAIN:
        error = only >= 0 && (uint32_t)only != r->domid
                    ? EACCES
                    : evtchn_bind_interdomain(x, user, r->domid, r->a, &port);
        break;
    case WIRE_BIND_UNBOUND:
        error = only >= 0 ? EACCES : evtchn_bind_local(x, user, &port);
        break;
    case WIRE_BIND_VIRQ:
        error = only >= 0 ? EACCES : r->a >= NR_VIRQS ? EINVAL : evtchn_bind_local(x, user, &port);
        break;
    case WIRE_UNBIND:
        return evtchn_unbind(x, user, r->a);
    }
    e->out.reply.a = port;
    return error;
}

int control_serve(struct xensim *x, struct exchange *e)
{
    struct connection *c = e->c;
    if (c->kind < 0 && e->in.request.op != WIRE_HELLO)
        return EPROTO;
    switch (e->in.request.op) {
    case WIRE_HELLO:
        if (c->kind >= 0 || e->in.request.a > WIRE_EVTCHN)
            return EPROTO;
        c->kind = (int)e->in.request.a;
        if (c->kind != WIRE_EVTCHN) /* those count by their descriptor */
            atomic_fetch_add(&x->count.clients, 1);
        return 0;
    case WIRE_RESTRICT:
        return op_restrict(x, e);
    case WIRE_DM_OP:
        return op_dm_op(x, e);
    case WIRE_MAP:
        return op_map(x, e);
    case WIRE_MAP_SPECIAL:
    case WIRE_RAM:
    case WIRE_RESOURCE:
    case WIRE_RESOURCE_SIZE:
        return op_frames(x, e);
    case WIRE_EVTCHN_OPEN:
        return op_evtchn_open(x, e);
    case WIRE_EVTCHN_ATTACH:
        return op_evtchn_attach(x, e);
    case WIRE_BIND_INTERDOMAIN:
    case WIRE_BIND_UNBOUND:
    case WIRE_BIND_VIRQ:
    case WIRE_UNBIND:
    case WIRE_SYNC:
        return op_evtchn(x, e);
    default:
        return EOPNOTSUPP;
    }
}
