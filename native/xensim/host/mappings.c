/* SPDX-License-Identifier: MIT */
/*
 * Who still maps the domain's pages. The kernel knows, so it is asked: that counts pages whose
 * handle was closed, and pages that were unmapped without the library.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The host's own mappings do not keep a domain: they are its memory. */
static bool is_own(struct xensim *x, uint64_t start)
{
    uint64_t ram = (uintptr_t)x->ram;
    if (start >= ram && start < ram + x->memory)
        return true;
    bool own = false;
    pthread_mutex_lock(&x->server_lock);
    for (unsigned id = 0; id < MAX_NR_IOREQ_SERVERS; id++)
        own |= x->server[id] && (uintptr_t)x->server[id]->frames == start;
    pthread_mutex_unlock(&x->server_lock);
    return own;
}

static uint64_t mapped_by(struct xensim *x, int pid, const char *prefix)
{
    char path[40], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return 0; /* gone, and its mappings with it */
    uint64_t pages = 0, start, end;
    while (fgets(line, sizeof line, maps)) {
        const char *name = strstr(line, prefix);
        if (!name || sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
            continue;
        name += strlen(prefix);
        if (strncmp(name, "ram", 3) && strncmp(name, "ioreq", 5))
            continue;
        if (pid != (int)getpid() || !is_own(x, start))
            pages += (end - start) >> XEN_PAGE_SHIFT;
    }
    fclose(maps);
    return pages;
}

uint64_t xensim_mapped_pages(struct xensim *x)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "/memfd:xensim:%d:%u:", (int)getpid(), x->instance);
    int32_t pid[NR_PIDS];
    pthread_mutex_lock(&x->pid_lock);
    unsigned n = x->nr_pids;
    memcpy(pid, x->pid, n * sizeof pid[0]);
    pthread_mutex_unlock(&x->pid_lock);
    uint64_t pages = 0;
    for (unsigned i = 0; i < n; i++)
        pages += mapped_by(x, pid[i], prefix);
    return pages;
}
