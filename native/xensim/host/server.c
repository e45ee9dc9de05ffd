/* SPDX-License-Identifier: MIT */
/*
 * Ioreq servers: their life and their pages.
 * Source: Xen common/ioreq.c; arch/x86/hvm/ioreq.c for the legacy gfns.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static bool handle_bufioreq(const struct ioreq_server *s)
{
    return s->bufioreq_handling != HVM_IOREQSRV_BUFIOREQ_OFF;
}

struct xen_ioreq *server_slot(struct ioreq_server *s, unsigned vcpu)
{
    return (struct xen_ioreq *)(s->frames + XEN_PAGE_SIZE) + vcpu;
}

struct ioreq_server *server_get(struct xensim *x, uint32_t id)
{
    return id < MAX_NR_IOREQ_SERVERS ? x->server[id] : NULL;
}

/* ---- create and destroy ---- */

static void server_free(struct xensim *x, struct ioreq_server *s)
{
    for (unsigned i = 0; i < x->vcpus; i++)
        if (s->vcpu[i].evtchn)
            evtchn_close_xen_end(x, s->vcpu[i].evtchn);
    if (s->bufioreq_evtchn)
        evtchn_close_xen_end(x, s->bufioreq_evtchn);
    if (s->ioreq_gfn != INVALID_GFN)
        x->special_gfns |= (uint8_t)(1u << (s->ioreq_gfn - SPECIAL_GFN_BASE));
    if (s->bufioreq_gfn != INVALID_GFN)
        x->special_gfns |= (uint8_t)(1u << (s->bufioreq_gfn - SPECIAL_GFN_BASE));
    if (s->frames)
        munmap(s->frames, 2 * XEN_PAGE_SIZE);
    if (s->fd >= 0)
        close(s->fd);
    pthread_mutex_destroy(&s->bufioreq_lock);
    pthread_rwlock_destroy(&s->ranges_lock);
    free(s);
}

static int server_alloc(struct xensim *x, unsigned bufioreq, struct ioreq_server **out)
{
    struct ioreq_server *s = calloc(1, sizeof *s + x->vcpus * sizeof s->vcpu[0]);
    if (!s)
        return ENOMEM;
    s->bufioreq_handling = (uint8_t)bufioreq;
    s->ioreq_gfn = s->bufioreq_gfn = INVALID_GFN;
    pthread_mutex_init(&s->bufioreq_lock, NULL);
    pthread_rwlock_init(&s->ranges_lock, NULL);

    int error = 0;
    s->fd = named_memfd(x, "ioreq", 2 * XEN_PAGE_SIZE);
    void *at = s->fd < 0 ? MAP_FAILED
                         : mmap(NULL, 2 * XEN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (at == MAP_FAILED)
        error = ENOMEM;
    else
        s->frames = at;
    for (unsigned i = 0; i < x->vcpus && !error; i++) {
        error = evtchn_alloc_unbound(x, i, &s->vcpu[i].evtchn);
        if (!error && i == 0 && handle_bufioreq(s))
            error = evtchn_alloc_unbound(x, 0, &s->bufioreq_evtchn);
    }
    if (error)
        server_free(x, s);
    else
        *out = s;
    return error;
}

int server_create(struct xensim *x, unsigned bufioreq, ioservid_t *id)
{
    if (bufioreq > HVM_IOREQSRV_BUFIOREQ_ATOMIC ||
        (x->arch == XENSIM_ARM && bufioreq != HVM_IOREQSRV_BUFIOREQ_OFF))
        return EINVAL;

    pthread_mutex_lock(&x->server_lock);
    domain_pause(x);
    unsigned i = 0;
    while (i < MAX_NR_IOREQ_SERVERS && x->server[i])
        i++;
    int error = i == MAX_NR_IOREQ_SERVERS ? ENOSPC : server_alloc(x, bufioreq, &x->server[i]);
    if (!error)
        *id = (ioservid_t)i;
    domain_unpause(x);
    pthread_mutex_unlock(&x->server_lock);
    return error;
}

int server_destroy(struct xensim *x, ioservid_t id)
{
    int error = ENOENT;
    pthread_mutex_lock(&x->server_lock);
    struct ioreq_server *s = server_get(x, id);
    if (s) {
        domain_pause(x);
        memory_map_mem_type(x, s, 0); /* arch_ioreq_server_destroy(): if it was the one */
        x->server[id] = NULL;
        mmcfg_forget(x, id);
        /* A vCPU that waits in this server stays blocked: only a notification would unblock it,
         * and its channel goes away here. */
        server_free(x, s);
        domain_unpause(x);
        error = 0;
    }
    pthread_mutex_unlock(&x->server_lock);
    return error;
}

/* The domain no longer runs, so nothing is paused. */
void server_destroy_all(struct xensim *x)
{
    pthread_mutex_lock(&x->server_lock);
    for (unsigned id = MAX_NR_IOREQ_SERVERS; id-- > 0;) {
        struct ioreq_server *s = x->server[id];
        x->server[id] = NULL;
        if (s)
            server_free(x, s);
    }
    x->mmcfg.count = 0;
    pthread_mutex_unlock(&x->server_lock);
}

/* ---- enable and disable ---- */

static void clear_legacy_pages(struct ioreq_server *s)
{
    if (s->ioreq_gfn != INVALID_GFN)
        memset(s->frames + XEN_PAGE_SIZE, 0, XEN_PAGE_SIZE);
    if (s->bufioreq_gfn != INVALID_GFN)
        memset(s->frames, 0, XEN_PAGE_SIZE);
}

int server_set_state(struct xensim *x, ioservid_t id, bool enabled)
{
    int error = ENOENT;
    pthread_mutex_lock(&x->server_lock);
    struct ioreq_server *s = server_get(x, id);
    if (s) {
        error = 0;
        domain_pause(x);
        if (s->enabled != enabled) {
            /* hvm_remove_ioreq_gfn() and hvm_add_ioreq_gfn() both start from a clear page. */
            clear_legacy_pages(s);
            s->enabled = enabled;
            /* Without pages there is nowhere to publish the ports: who maps after enabling
             * never learns them. */
            for (unsigned i = 0; enabled && s->allocated && i < x->vcpus; i++)
                server_slot(s, i)->vp_eport = s->vcpu[i].evtchn;
            pthread_cond_broadcast(&x->server_cond);
        }
        domain_unpause(x);
    }
    pthread_mutex_unlock(&x->server_lock);
    return error;
}

bool xensim_wait_server_enabled(struct xensim *x, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    bool enabled = false;
    int rc = 0;
    pthread_mutex_lock(&x->server_lock);
    for (;;) {
        for (unsigned id = 0; id < MAX_NR_IOREQ_SERVERS; id++)
            enabled |= x->server[id] && x->server[id]->enabled;
        if (enabled || rc || !domain_exists(x))
            break;
        rc = timeout_ms < 0 ? pthread_cond_wait(&x->server_cond, &x->server_lock)
                            : pthread_cond_timedwait(&x->server_cond, &x->server_lock, &until);
    }
    pthread_mutex_unlock(&x->server_lock);
    return enabled;
}

/* ---- pages ---- */

static uint64_t alloc_special_gfn(struct xensim *x)
{
    for (unsigned i = 0; i < NR_SPECIAL_GFNS; i++) {
        if (x->special_gfns & 1u << i) {
            x->special_gfns &= (uint8_t)~(1u << i);
            return SPECIAL_GFN_BASE + i;
        }
    }
    return INVALID_GFN;
}

/* hvm_map_ioreq_gfn() for both pages: the way in before resource mapping existed. */
static int map_legacy(struct xensim *x, struct ioreq_server *s)
{
    if (x->arch == XENSIM_ARM)
        return EOPNOTSUPP;
    if (s->allocated)
        return s->ioreq_gfn == INVALID_GFN ? EPERM : 0;
    s->ioreq_gfn = alloc_special_gfn(x);
    if (s->ioreq_gfn == INVALID_GFN)
        return ENOMEM;
    if (handle_bufioreq(s)) {
        s->bufioreq_gfn = alloc_special_gfn(x);
        if (s->bufioreq_gfn == INVALID_GFN) {
            x->special_gfns |= (uint8_t)(1u << (s->ioreq_gfn - SPECIAL_GFN_BASE));
            s->ioreq_gfn = INVALID_GFN;
            return ENOMEM;
        }
    }
    s->allocated = true;
    return 0;
}

int server_get_info(struct xensim *x, struct dmop_get_ioreq_server_info *info)
{
    int error = ENOENT;
    pthread_mutex_lock(&x->server_lock);
    struct ioreq_server *s = server_get(x, info->id);
    if (s) {
        error = info->flags & XEN_DMOP_no_gfns ? 0 : map_legacy(x, s);
        if (!error && !(info->flags & XEN_DMOP_no_gfns)) {
            info->ioreq_gfn = s->ioreq_gfn;
            if (handle_bufioreq(s))
                info->bufioreq_gfn = s->bufioreq_gfn;
        }
        if (!error && handle_bufioreq(s))
            info->bufioreq_port = s->bufioreq_evtchn;
    }
    pthread_mutex_unlock(&x->server_lock);
    return error;
}

/* ioreq_server_get_frame() for [frame, frame + nr). Gives a descriptor of the frames to close. */
int server_frames(struct xensim *x, uint32_t id, uint64_t frame, uint64_t nr, int *fd)
{
    if (id != (ioservid_t)id || frame >> 32 || nr >> 32 || nr == 0)
        return EINVAL;
    int error = ENOENT;
    pthread_mutex_lock(&x->server_lock);
    struct ioreq_server *s = server_get(x, id);
    if (s && s->allocated && s->ioreq_gfn != INVALID_GFN) {
        error = EPERM; /* pages given by gfn are not given as a resource too */
    } else if (s) {
        s->allocated = true;
        error = 0;
        for (uint64_t i = frame; i < frame + nr && !error; i++) {
            if (i == XENMEM_resource_ioreq_server_frame_bufioreq)
                error = handle_bufioreq(s) ? 0 : ENOENT;
            else if (i != XENMEM_resource_ioreq_server_frame_ioreq(0))
                error = EINVAL;
        }
        if (!error && (*fd = dup(s->fd)) < 0)
            error = errno;
    }
    pthread_mutex_unlock(&x->server_lock);
    return error;
}

/* A legacy gfn is in the guest's p2m while its server is disabled. */
int server_special_frame(struct xensim *x, uint64_t gfn, int *fd, uint64_t *page)
{
    int error = EINVAL;
    pthread_mutex_lock(&x->server_lock);
    for (unsigned id = 0; id < MAX_NR_IOREQ_SERVERS && error == EINVAL; id++) {
        struct ioreq_server *s = x->server[id];
        if (!s || s->enabled || (s->ioreq_gfn != gfn && s->bufioreq_gfn != gfn))
            continue;
        *page = s->ioreq_gfn == gfn ? 1 : 0;
        error = 0;
        if (fd && (*fd = dup(s->fd)) < 0)
            error = errno;
    }
    pthread_mutex_unlock(&x->server_lock);
    return error;
}
