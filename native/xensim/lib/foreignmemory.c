/* SPDX-License-Identifier: MIT */
/* libxenforeignmemory.so.1. Source of the behaviour: Xen tools/libs/foreignmemory/{core,linux}.c,
 * Linux drivers/xen/privcmd.c. */
#include "client.h"
#include "xen.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct xenforeignmemory_handle {
    Xentoolcore__Active_Handle active;
    struct client client;
    _Atomic int ram_fd; /* -1 until the first mapping */
};

struct xenforeignmemory_resource_handle {
    void *addr;
    size_t bytes;
};

EXPORT int xenforeignmemory_restrict(xenforeignmemory_handle *fmem, domid_t domid)
{
    struct client_call call = {.request = {.op = WIRE_RESTRICT, .domid = domid}};
    return client_call(&fmem->client, &call);
}

static int restrict_handle(Xentoolcore__Active_Handle *active, domid_t domid)
{
    xenforeignmemory_handle *fmem = (xenforeignmemory_handle *)active;
    return fmem->client.fd < 0 ? 0 : xenforeignmemory_restrict(fmem, domid);
}

EXPORT xenforeignmemory_handle *xenforeignmemory_open(struct xentoollog_logger *logger,
                                                      unsigned open_flags)
{
    (void)logger;
    (void)open_flags;
    xenforeignmemory_handle *fmem = calloc(1, sizeof *fmem);
    if (!fmem)
        return NULL;
    fmem->client.fd = -1;
    fmem->ram_fd = -1;
    fmem->active.restrict_callback = restrict_handle;
    xentoolcore__register_active_handle(&fmem->active);
    if (!client_open(&fmem->client, WIRE_FOREIGNMEMORY))
        return fmem;
    int error = errno;
    xentoolcore__deregister_active_handle(&fmem->active);
    free(fmem);
    errno = error;
    return NULL;
}

/* Mappings stay, as those of a closed privcmd descriptor do. */
EXPORT int xenforeignmemory_close(xenforeignmemory_handle *fmem)
{
    if (!fmem)
        return 0;
    xentoolcore__deregister_active_handle(&fmem->active);
    client_close(&fmem->client);
    if (fmem->ram_fd >= 0)
        close(fmem->ram_fd);
    free(fmem);
    return 0;
}

static int get_ram_fd(xenforeignmemory_handle *fmem, uint32_t dom)
{
    int fd = fmem->ram_fd;
    if (fd >= 0)
        return fd;
    struct client_call call = {.request = {.op = WIRE_RAM, .domid = dom}};
    if (client_call(&fmem->client, &call))
        return -1;
    int expected = -1;
    if (atomic_compare_exchange_strong(&fmem->ram_fd, &expected, call.out_fd[0]))
        return call.out_fd[0];
    close(call.out_fd[0]); /* another thread was first */
    return expected;
}

static int map_at(void *at, size_t pages, int prot, int fd, uint64_t page)
{
    void *got = mmap(at, pages << XEN_PAGE_SHIFT, prot, MAP_SHARED | MAP_FIXED, fd,
                     (off_t)(page << XEN_PAGE_SHIFT));
    return got == MAP_FAILED ? errno : 0;
}

/* The page of a legacy ioreq gfn lies in its server's file. */
static int map_special(xenforeignmemory_handle *fmem, uint32_t dom, void *at, int prot, uint64_t gfn)
{
    struct client_call call = {.request = {.op = WIRE_MAP_SPECIAL, .domid = dom, .a = gfn}};
    if (client_call(&fmem->client, &call))
        return errno;
    int error = map_at(at, 1, prot, call.out_fd[0], call.a);
    close(call.out_fd[0]);
    return error;
}

/* Map what one reply found, runs of neighbouring pages at once. */
static void map_found(xenforeignmemory_handle *fmem, uint32_t dom, uint8_t *at, int prot,
                      size_t count, const uint64_t *gfn, const uint64_t *page, int *err)
{
    for (size_t i = 0, run; i < count; i += run) {
        uint8_t *here = at + (i << XEN_PAGE_SHIFT);
        int error;
        run = 1;
        if (page[i] & WIRE_PAGE_ERROR) {
            error = (int)(page[i] & ~WIRE_PAGE_ERROR);
        } else if (page[i] == WIRE_PAGE_SPECIAL) {
            error = map_special(fmem, dom, here, prot, gfn[i]);
        } else {
            while (i + run < count && page[i + run] == page[i] + run)
                run++;
            int fd = get_ram_fd(fmem, dom);
            error = fd < 0 ? errno : map_at(here, run, prot, fd, page[i]);
        }
        for (size_t k = i; k < i + run; k++)
            err[k] = -error;
    }
}

static int map_pages(xenforeignmemory_handle *fmem, uint32_t dom, uint8_t *at, int prot, size_t num,
                     const xen_pfn_t *arr, int *err)
{
    uint64_t gfn[WIRE_MAP_MAX], page[WIRE_MAP_MAX];
    for (size_t done = 0, n; done < num; done += n) {
        n = num - done < WIRE_MAP_MAX ? num - done : WIRE_MAP_MAX;
        for (size_t i = 0; i < n; i++)
            gfn[i] = arr[done + i];
        struct client_call call = {
            .request = {.op = WIRE_MAP, .domid = dom, .a = n},
            .in = {gfn}, .in_length = {n * 8}, .out = {page}, .out_length = {n * 8},
        };
        if (client_call(&fmem->client, &call))
            return -1;
        map_found(fmem, dom, at + (done << XEN_PAGE_SHIFT), prot, n, gfn, page, err + done);
    }
    return 0;
}

EXPORT void *xenforeignmemory_map2(xenforeignmemory_handle *fmem, uint32_t dom, void *addr,
                                   int prot, int flags, size_t num, const xen_pfn_t arr[],
                                   int err[])
{
    int *own = NULL;
    if (!err && !(err = own = calloc(num ? num : 1, sizeof *err)))
        return NULL;

    /* Pages in error stay inaccessible. */
    void *at = mmap(addr, num << XEN_PAGE_SHIFT, PROT_NONE,
                    (flags & MAP_FIXED) | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        at = NULL;
    int error = at ? 0 : errno;
    if (at && map_pages(fmem, dom, at, prot, num, arr, err))
        error = errno;
    for (size_t i = 0; own && !error && i < num; i++)
        error = -err[i]; /* nobody to tell which: all or nothing */
    if (error && at) {
        munmap(at, num << XEN_PAGE_SHIFT);
        at = NULL;
    }
    free(own);
    if (error)
        errno = error;
    return at;
}

EXPORT void *xenforeignmemory_map(xenforeignmemory_handle *fmem, uint32_t dom, int prot,
                                  size_t pages, const xen_pfn_t arr[], int err[])
{
    return xenforeignmemory_map2(fmem, dom, NULL, prot, 0, pages, arr, err);
}

EXPORT int xenforeignmemory_unmap(xenforeignmemory_handle *fmem, void *addr, size_t pages)
{
    (void)fmem;
    return munmap(addr, pages << XEN_PAGE_SHIFT);
}

EXPORT xenforeignmemory_resource_handle *
xenforeignmemory_map_resource(xenforeignmemory_handle *fmem, domid_t domid, unsigned int type,
                              unsigned int id, unsigned long frame, unsigned long nr_frames,
                              void **paddr, int prot, int flags)
{
    if (flags & ~(MAP_SHARED | MAP_PRIVATE)) {
        errno = EINVAL;
        return NULL;
    }
    xenforeignmemory_resource_handle *fres = calloc(1, sizeof *fres);
    if (!fres)
        return NULL;
    struct client_call call = {
        .request = {.op = WIRE_RESOURCE, .domid = domid, .a = type, .b = id, .c = frame, .d = nr_frames},
    };
    int error = 0;
    if (client_call(&fmem->client, &call)) {
        error = errno;
    } else {
        fres->bytes = nr_frames << XEN_PAGE_SHIFT;
        fres->addr = mmap(*paddr, fres->bytes, prot, flags | MAP_SHARED, call.out_fd[0],
                          (off_t)(frame << XEN_PAGE_SHIFT));
        if (fres->addr == MAP_FAILED)
            error = errno;
        close(call.out_fd[0]);
    }
    if (error) {
        free(fres);
        errno = error;
        return NULL;
    }
    *paddr = fres->addr;
    return fres;
}

EXPORT int xenforeignmemory_unmap_resource(xenforeignmemory_handle *fmem,
                                           xenforeignmemory_resource_handle *fres)
{
    (void)fmem;
    int rc = fres ? munmap(fres->addr, fres->bytes) : 0;
    free(fres);
    return rc;
}

EXPORT int xenforeignmemory_resource_size(xenforeignmemory_handle *fmem, domid_t domid,
                                          unsigned int type, unsigned int id, size_t *size)
{
    struct client_call call = {
        .request = {.op = WIRE_RESOURCE_SIZE, .domid = domid, .a = type, .b = id},
    };
    if (client_call(&fmem->client, &call))
        return -1;
    *size = call.a << XEN_PAGE_SHIFT;
    return 0;
}
