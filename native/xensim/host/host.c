/* SPDX-License-Identifier: MIT */
/* A host from start to end, and the life of its one domain. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static _Atomic unsigned instances;

int named_memfd(struct xensim *x, const char *what, uint64_t bytes)
{
    char name[64];
    snprintf(name, sizeof name, "xensim:%d:%u:%s", (int)getpid(), x->instance, what);
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, (off_t)bytes)) {
        int error = errno;
        close(fd);
        errno = error;
        fd = -1;
    }
    return fd;
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static void init_locks(struct xensim *x)
{
    pthread_mutex_init(&x->life_lock, NULL);
    pthread_mutex_init(&x->server_lock, NULL);
    pthread_mutex_init(&x->evtchn_lock, NULL);
    pthread_mutex_init(&x->irq_lock, NULL);
    pthread_mutex_init(&x->console_lock, NULL);
    pthread_mutex_init(&x->pid_lock, NULL);
    pthread_rwlock_init(&x->mem_lock, NULL);
    cond_init(&x->life_cond);
    cond_init(&x->server_cond);
    cond_init(&x->irq_cond);
}

int xensim_start(const struct xensim_config *config, struct xensim **out)
{
    if (!config->socket_path || config->vcpus < 1 || config->vcpus > HVM_MAX_VCPUS ||
        config->memory % XEN_PAGE_SIZE || !config->memory || config->memory >> 40 ||
        (config->arch != XENSIM_X86 && config->arch != XENSIM_ARM)) {
        errno = EINVAL;
        return -1;
    }
    struct xensim *x = calloc(1, sizeof *x);
    if (!x)
        return -1;
    x->ram_fd = x->shared_fd = x->listen_fd = x->epoll_fd = x->stop_fd = -1;
    x->instance = atomic_fetch_add(&instances, 1);
    x->arch = config->arch;
    x->vcpus = config->vcpus;
    x->spin_us = config->spin_us;
    x->shutdown_code = -1;
    x->special_gfns = 0xff;
    x->pause_count = 1;
    x->paused_by_toolstack = true;
    init_locks(x);

    int error = ENOMEM;
    x->vcpu = aligned_alloc(64, config->vcpus * sizeof *x->vcpu);
    if (x->vcpu) {
        memset(x->vcpu, 0, config->vcpus * sizeof *x->vcpu);
        for (unsigned i = 0; i < x->vcpus; i++)
            pthread_mutex_init(&x->vcpu[i].lock, NULL);
        error = memory_start(x, config->memory);
    }
    if (!error)
        error = evtchn_start(x);
    if (!error)
        error = irq_start(x);
    if (!error)
        error = control_start(x, config->socket_path);
    if (error) {
        xensim_free(x);
        errno = error;
        return -1;
    }
    *out = x;
    return 0;
}

void xensim_free(struct xensim *x)
{
    if (!x)
        return;
    xensim_stop(x);
    server_destroy_all(x);
    evtchn_free(x);
    memory_free(x);
    irq_free(x);
    if (x->vcpu)
        for (unsigned i = 0; i < x->vcpus; i++)
            pthread_mutex_destroy(&x->vcpu[i].lock);
    free(x->vcpu);
    free(x->console);
    pthread_mutex_destroy(&x->life_lock);
    pthread_mutex_destroy(&x->server_lock);
    pthread_mutex_destroy(&x->evtchn_lock);
    pthread_mutex_destroy(&x->irq_lock);
    pthread_mutex_destroy(&x->console_lock);
    pthread_mutex_destroy(&x->pid_lock);
    pthread_rwlock_destroy(&x->mem_lock);
    pthread_cond_destroy(&x->life_cond);
    pthread_cond_destroy(&x->server_cond);
    pthread_cond_destroy(&x->irq_cond);
    free(x);
}

/* ---- vCPUs going in and out of Xen ---- */

bool domain_exists(struct xensim *x)
{
    return atomic_load(&x->run_state) < RUN_DESTROYED;
}

enum xensim_result vcpu_gone(struct xensim *x)
{
    return atomic_load(&x->run_state) == RUN_CRASHED ? XENSIM_CRASHED : XENSIM_STOPPED;
}

/* Take the vCPU's lock, after any pause. False, without it, when the domain no longer runs. */
bool vcpu_enter(struct xensim *x, struct vcpu *v)
{
    pthread_mutex_lock(&v->lock);
    while (atomic_load(&x->run_state) == RUN_ALIVE && atomic_load(&x->pause_count)) {
        pthread_mutex_unlock(&v->lock);
        pthread_mutex_lock(&x->life_lock);
        while (atomic_load(&x->run_state) == RUN_ALIVE && atomic_load(&x->pause_count))
            pthread_cond_wait(&x->life_cond, &x->life_lock);
        pthread_mutex_unlock(&x->life_lock);
        pthread_mutex_lock(&v->lock);
    }
    if (atomic_load(&x->run_state) == RUN_ALIVE)
        return true;
    pthread_mutex_unlock(&v->lock);
    return false;
}

void vcpu_leave(struct vcpu *v)
{
    pthread_mutex_unlock(&v->lock);
}

static void wait_until_no_vcpu_runs(struct xensim *x)
{
    for (unsigned i = 0; i < x->vcpus; i++) {
        pthread_mutex_lock(&x->vcpu[i].lock);
        pthread_mutex_unlock(&x->vcpu[i].lock);
    }
}

void domain_pause(struct xensim *x)
{
    pthread_mutex_lock(&x->life_lock);
    atomic_fetch_add(&x->pause_count, 1);
    pthread_mutex_unlock(&x->life_lock);
    wait_until_no_vcpu_runs(x);
}

void domain_unpause(struct xensim *x)
{
    pthread_mutex_lock(&x->life_lock);
    atomic_fetch_sub(&x->pause_count, 1);
    pthread_cond_broadcast(&x->life_cond);
    pthread_mutex_unlock(&x->life_lock);
}

void xensim_pause(struct xensim *x)
{
    pthread_mutex_lock(&x->life_lock);
    bool change = !x->paused_by_toolstack;
    x->paused_by_toolstack = true;
    if (change)
        atomic_fetch_add(&x->pause_count, 1);
    pthread_mutex_unlock(&x->life_lock);
    if (change)
        wait_until_no_vcpu_runs(x);
}

void xensim_unpause(struct xensim *x)
{
    pthread_mutex_lock(&x->life_lock);
    if (x->paused_by_toolstack)
        atomic_fetch_sub(&x->pause_count, 1);
    x->paused_by_toolstack = false;
    pthread_cond_broadcast(&x->life_cond);
    pthread_mutex_unlock(&x->life_lock);
}

/* ---- the ways a domain ends ---- */

/* States only get more final. Returns whether this call made the change. */
static bool end_run(struct xensim *x, int state, unsigned code, const char *reason)
{
    pthread_mutex_lock(&x->life_lock);
    bool change = atomic_load(&x->run_state) < state;
    if (change) {
        if (x->shutdown_code < 0 && state <= RUN_CRASHED)
            x->shutdown_code = (int)code;
        if (reason)
            snprintf(x->crash_reason, sizeof x->crash_reason, "%s", reason);
        atomic_store(&x->run_state, state);
        pthread_cond_broadcast(&x->life_cond);
    }
    pthread_mutex_unlock(&x->life_lock);
    if (!change)
        return false;
    evtchn_wake_all(x);
    irq_changed(x);
    return true;
}

static void wake_server_waiters(struct xensim *x)
{
    pthread_mutex_lock(&x->server_lock);
    pthread_cond_broadcast(&x->server_cond);
    pthread_mutex_unlock(&x->server_lock);
}

/* Called by a vCPU in Xen, whose lock it holds. */
void domain_crash(struct xensim *x, const char *reason)
{
    enum { SHUTDOWN_crash = 3 };
    console_log(x, "%s", reason);
    if (end_run(x, RUN_CRASHED, SHUTDOWN_crash, reason))
        console_log(x, "Domain %u reported crashed", XENSIM_DOMID);
}

void domain_shutdown(struct xensim *x, unsigned code)
{
    end_run(x, code == 3 ? RUN_CRASHED : RUN_SHUTDOWN, code,
            code == 3 ? "the device model shut the domain down as crashed" : NULL);
}

void xensim_destroy_domain(struct xensim *x)
{
    if (!end_run(x, RUN_DESTROYED, 0, NULL))
        return;
    wake_server_waiters(x);
    wait_until_no_vcpu_runs(x);
    server_destroy_all(x);
}

void xensim_stop(struct xensim *x)
{
    if (x->shared)
        end_run(x, RUN_STOPPED, 0, NULL);
    wake_server_waiters(x);
    control_stop(x);
}

const char *xensim_crash_reason(struct xensim *x)
{
    pthread_mutex_lock(&x->life_lock);
    const char *reason = x->crash_reason[0] ? x->crash_reason : NULL;
    pthread_mutex_unlock(&x->life_lock);
    return reason;
}

int xensim_shutdown_code(struct xensim *x)
{
    pthread_mutex_lock(&x->life_lock);
    int code = x->shutdown_code;
    pthread_mutex_unlock(&x->life_lock);
    return code;
}

bool xensim_take_event(struct xensim *x, unsigned vcpu, struct xensim_event *out)
{
    if (vcpu >= x->vcpus)
        return false;
    struct vcpu *v = &x->vcpu[vcpu];
    pthread_mutex_lock(&v->lock);
    bool pending = v->event_pending;
    if (pending)
        *out = v->event;
    v->event_pending = false;
    pthread_mutex_unlock(&v->lock);
    return pending;
}

void xensim_set_cf8_ext(struct xensim *x, bool on)
{
    domain_pause(x);
    x->cf8_ext = on;
    domain_unpause(x);
}

void xensim_get_counters(struct xensim *x, struct xensim_counters *out)
{
    struct counters *c = &x->count;
    *out = (struct xensim_counters){
        .pio = c->pio, .copy = c->copy, .pci_config = c->pci_config,
        .timeoffset = c->timeoffset, .invalidate = c->invalidate,
        .buffered = c->buffered, .buffered_fallback = c->buffered_fallback,
        .unhandled = c->unhandled, .aborted = c->aborted, .retried = c->retried,
        .notify_to_server = c->notify_to_server, .notify_dropped = c->notify_dropped,
        .intx_ops = c->intx_ops, .msi_ops = c->msi_ops,
        .dm_ops = c->dm_ops, .dm_op_errors = c->dm_op_errors,
        .ranges_mapped = c->ranges_mapped, .ranges_unmapped = c->ranges_unmapped,
        .clients = c->clients,
        .mmcfg_native = c->mmcfg_native, .mmcfg_translated = c->mmcfg_translated,
    };
    for (unsigned i = 0; i < x->vcpus; i++)
        out->notify_from_server += atomic_load(&x->shared->vcpu[i].notified);
    pthread_mutex_lock(&x->server_lock);
    for (unsigned id = 0; id < MAX_NR_IOREQ_SERVERS; id++) {
        struct ioreq_server *s = x->server[id];
        if (!s)
            continue;
        out->servers++;
        for (unsigned type = 0; type < NR_IO_RANGE_TYPES; type++)
            out->ranges += s->range[type].count;
    }
    pthread_mutex_unlock(&x->server_lock);
}
