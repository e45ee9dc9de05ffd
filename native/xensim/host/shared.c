/* SPDX-License-Identifier: MIT */
/*
 * The shared pages as a peer writes them who does not keep to the protocol. Source: Xen security advisories 197 and
 * 199, where a device model trusted what it read there.
 */
#include "internal.h"

#include <string.h>

#define SHARED_PAGES 2u

bool xensim_write_shared(struct xensim *x, unsigned at, unsigned width, uint64_t value)
{
    bool written = false;
    if (width > sizeof value || at > SHARED_PAGES * XEN_PAGE_SIZE - width)
        return false;
    pthread_mutex_lock(&x->server_lock);
    for (unsigned id = MAX_NR_IOREQ_SERVERS; id-- > 0 && !written;) {
        struct ioreq_server *s = x->server[id];
        if (!s || !s->enabled)
            continue;
        memcpy(s->frames + at, &value, width);
        written = true;
    }
    pthread_mutex_unlock(&x->server_lock);
    return written;
}
