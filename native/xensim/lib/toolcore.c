/* SPDX-License-Identifier: MIT */
/* libxentoolcore.so.1: the list of open handles, to restrict them all at once. */
#include "client.h"
#include "xen.h"

#include <fcntl.h>
#include <unistd.h>

static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER;
static Xentoolcore__Active_Handle *handles;

EXPORT void xentoolcore__register_active_handle(Xentoolcore__Active_Handle *handle)
{
    pthread_mutex_lock(&handles_lock);
    handle->entry.next = handles;
    handle->entry.previous = &handles;
    if (handles)
        handles->entry.previous = &handle->entry.next;
    handles = handle;
    pthread_mutex_unlock(&handles_lock);
}

EXPORT void xentoolcore__deregister_active_handle(Xentoolcore__Active_Handle *handle)
{
    pthread_mutex_lock(&handles_lock);
    if (handle->entry.next)
        handle->entry.next->entry.previous = handle->entry.previous;
    *handle->entry.previous = handle->entry.next;
    pthread_mutex_unlock(&handles_lock);
}

EXPORT int xentoolcore_restrict_all(domid_t domid)
{
    int rc = 0;
    pthread_mutex_lock(&handles_lock);
    for (Xentoolcore__Active_Handle *h = handles; h && !rc; h = h->entry.next)
        rc = h->restrict_callback(h, domid);
    pthread_mutex_unlock(&handles_lock);
    return rc;
}

/* For handles that know no restriction: they become /dev/null. */
EXPORT int xentoolcore__restrict_by_dup2_null(int fd)
{
    if (fd < 0)
        return 0;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0)
        return -1;
    int rc = dup2(null, fd) < 0 ? -1 : 0;
    close(null);
    return rc;
}
