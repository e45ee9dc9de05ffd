/* SPDX-License-Identifier: MIT */
/* The hosts of this process, by number. The only state that all environments share. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "binding.h"

#define MAX_HOSTS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct host *hosts[MAX_HOSTS];
static uint32_t last_id;

int host_register(struct xensim *x, const struct xensim_config *config, struct environment *owner,
                  uint32_t *id)
{
    struct host *host = calloc(1, sizeof *host);
    if (!host)
        return ENOMEM;
    *host = (struct host){.x = x, .vcpus = config->vcpus, .memory = config->memory, .owner = owner};
    atomic_init(&host->refs, 1);

    pthread_mutex_lock(&lock);
    for (unsigned tries = 0; tries < MAX_HOSTS; tries++) {
        struct host **place = &hosts[++last_id % MAX_HOSTS];
        if (*place)
            continue;
        *id = host->id = last_id;
        *place = host;
        pthread_mutex_unlock(&lock);
        return 0;
    }
    pthread_mutex_unlock(&lock);
    free(host);
    return EMFILE;
}

struct host *host_acquire(uint32_t id)
{
    pthread_mutex_lock(&lock);
    struct host *host = hosts[id % MAX_HOSTS];
    if (host && host->id == id)
        atomic_fetch_add(&host->refs, 1);
    else
        host = NULL;
    pthread_mutex_unlock(&lock);
    return host;
}

void host_release(struct host *host)
{
    if (!host || atomic_fetch_sub(&host->refs, 1) != 1)
        return;
    xensim_free(host->x);
    free(host);
}

bool host_close(uint32_t id)
{
    pthread_mutex_lock(&lock);
    struct host **place = &hosts[id % MAX_HOSTS], *host = *place;
    if (host && host->id == id)
        *place = NULL;
    else
        host = NULL;
    pthread_mutex_unlock(&lock);
    if (!host)
        return false;
    xensim_stop(host->x);
    host_release(host);
    return true;
}

void hosts_close_owned(struct environment *owner)
{
    for (unsigned i = 0; i < MAX_HOSTS; i++) {
        uint32_t id = 0;
        pthread_mutex_lock(&lock);
        if (hosts[i] && hosts[i]->owner == owner)
            id = hosts[i]->id;
        pthread_mutex_unlock(&lock);
        if (id)
            host_close(id);
    }
}
