/* SPDX-License-Identifier: MIT */
/* Guest memory: which page of the RAM file is behind a guest frame, and of what type it is. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FOUR_GIB (UINT64_C(1) << 32)

int memory_start(struct xensim *x, uint64_t bytes)
{
    x->memory = bytes;
    x->nr_pages = bytes >> XEN_PAGE_SHIFT;
    /* Frames above RAM are there for relocate_memory(): BARs that are backed by RAM. */
    x->nr_gfns = (bytes > FOUR_GIB ? bytes : FOUR_GIB) >> XEN_PAGE_SHIFT;
    x->p2m = calloc(x->nr_gfns, sizeof *x->p2m);
    x->p2m_type = malloc(x->nr_gfns);
    if (!x->p2m || !x->p2m_type)
        return ENOMEM;
    for (uint64_t gfn = 0; gfn < x->nr_pages; gfn++)
        x->p2m[gfn] = gfn;
    memset(x->p2m_type, P2M_RAM_RW, x->nr_pages);
    memset(x->p2m_type + x->nr_pages, P2M_HOLE, x->nr_gfns - x->nr_pages);

    x->ram_fd = named_memfd(x, "ram", bytes);
    if (x->ram_fd < 0)
        return errno;
    uint8_t *ram = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, x->ram_fd, 0);
    if (ram == MAP_FAILED)
        return errno;
    x->ram = ram;
    return 0;
}

void memory_free(struct xensim *x)
{
    if (x->ram)
        munmap(x->ram, x->memory);
    if (x->ram_fd >= 0)
        close(x->ram_fd);
    free(x->p2m);
    free(x->p2m_type);
    free(x->dirty);
}

uint8_t *xensim_ram(struct xensim *x)
{
    return x->ram;
}

/* Looked at on every access, hence without the lock: a change is only promised to be seen by
 * accesses that begin after it. */
unsigned memory_type(struct xensim *x, uint64_t gpa)
{
    uint64_t gfn = gpa >> XEN_PAGE_SHIFT;
    return gfn < x->nr_gfns ? __atomic_load_n(&x->p2m_type[gfn], __ATOMIC_ACQUIRE) : P2M_HOLE;
}

static bool is_ram(unsigned type)
{
    return type == P2M_RAM_RW || type == P2M_RAM_RO || type == P2M_IOREQ_SERVER;
}

static void set_type(struct xensim *x, uint64_t gfn, unsigned type)
{
    if (x->p2m_type[gfn] == P2M_IOREQ_SERVER)
        x->mem_type_entries--;
    if (type == P2M_IOREQ_SERVER)
        x->mem_type_entries++;
    __atomic_store_n(&x->p2m_type[gfn], (uint8_t)type, __ATOMIC_RELEASE);
}

/* Put what is behind a frame, or plain memory when nothing is, where the guest program looks. */
static int show(struct xensim *x, uint64_t gfn)
{
    uint64_t gpa = gfn << XEN_PAGE_SHIFT;
    if (gpa >= x->memory)
        return 0;
    void *at = x->ram + gpa;
    void *got = x->p2m_type[gfn] == P2M_HOLE
                    ? mmap(at, XEN_PAGE_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
                    : mmap(at, XEN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                           x->ram_fd, (off_t)(x->p2m[gfn] << XEN_PAGE_SHIFT));
    return got == MAP_FAILED ? errno : 0;
}

/* One access, inside one page. False when there is no RAM. Writes to read-only RAM are dropped. */
static bool copy_in_page(struct xensim *x, uint64_t gpa, void *buffer, size_t length, bool write)
{
    uint64_t gfn = gpa >> XEN_PAGE_SHIFT;
    if (gfn >= x->nr_gfns || !is_ram(x->p2m_type[gfn]))
        return false;
    if (write && x->p2m_type[gfn] == P2M_RAM_RO)
        return true;
    if (gpa < x->memory) {
        if (write)
            memcpy(x->ram + gpa, buffer, length);
        else
            memcpy(buffer, x->ram + gpa, length);
        return true;
    }
    off_t at = (off_t)((x->p2m[gfn] << XEN_PAGE_SHIFT) + (gpa & (XEN_PAGE_SIZE - 1)));
    ssize_t n = write ? pwrite(x->ram_fd, buffer, length, at) : pread(x->ram_fd, buffer, length, at);
    return n == (ssize_t)length;
}

bool memory_copy(struct xensim *x, uint64_t gpa, void *buffer, size_t length, bool write)
{
    bool ok = true;
    pthread_rwlock_rdlock(&x->mem_lock);
    while (length && ok) {
        size_t here = XEN_PAGE_SIZE - (gpa & (XEN_PAGE_SIZE - 1));
        if (here > length)
            here = length;
        ok = copy_in_page(x, gpa, buffer, here, write);
        gpa += here;
        buffer = (uint8_t *)buffer + here;
        length -= here;
    }
    pthread_rwlock_unlock(&x->mem_lock);
    return ok;
}

/* What a foreign mapping of a frame gets: a page number, or WIRE_PAGE_ERROR | errno. */
uint64_t memory_lookup(struct xensim *x, uint64_t gfn)
{
    pthread_rwlock_rdlock(&x->mem_lock);
    uint64_t page = gfn < x->nr_gfns && is_ram(x->p2m_type[gfn]) ? x->p2m[gfn]
                                                                 : WIRE_PAGE_ERROR | EINVAL;
    pthread_rwlock_unlock(&x->mem_lock);
    return page;
}

int xensim_vcpu_decrease_reservation(struct xensim *x, unsigned vcpu, uint64_t gfn)
{
    if (vcpu >= x->vcpus || !vcpu_enter(x, &x->vcpu[vcpu])) {
        errno = ESRCH;
        return -1;
    }
    int error = 0;
    pthread_rwlock_wrlock(&x->mem_lock);
    if (gfn >= x->nr_gfns || !is_ram(x->p2m_type[gfn])) {
        error = EINVAL;
    } else {
        set_type(x, gfn, P2M_HOLE);
        error = show(x, gfn);
    }
    pthread_rwlock_unlock(&x->mem_lock);
    vcpu_leave(&x->vcpu[vcpu]);
    if (!error && xensim_vcpu_invalidate(x, vcpu) != XENSIM_HANDLED)
        error = ESRCH;
    if (!error)
        return 0;
    errno = error;
    return -1;
}

int xensim_populate(struct xensim *x, uint64_t gfn)
{
    int error = 0;
    pthread_rwlock_wrlock(&x->mem_lock);
    if (!domain_exists(x))
        error = ESRCH;
    else if (gfn >= x->nr_gfns || x->p2m_type[gfn] != P2M_HOLE)
        error = EINVAL;
    else if (ftruncate(x->ram_fd, (off_t)((x->nr_pages + 1) << XEN_PAGE_SHIFT)))
        error = errno;
    if (!error) {
        x->p2m[gfn] = x->nr_pages++;
        set_type(x, gfn, P2M_RAM_RW);
        error = show(x, gfn);
    }
    pthread_rwlock_unlock(&x->mem_lock);
    if (!error)
        return 0;
    errno = error;
    return -1;
}

/* Source: Xen arch/x86/hvm/dm.c, set_mem_type() and allow_p2m_type_change(). */
int memory_set_type(struct xensim *x, unsigned type, uint64_t first, uint32_t nr)
{
    uint64_t last = first + nr - 1;
    if (first > last || last >= x->nr_gfns)
        return EINVAL;
    if (type > HVMMEM_ioreq_server || type == HVMMEM_unused)
        return EINVAL;
    int error = 0;
    pthread_rwlock_wrlock(&x->mem_lock);
    if (type == HVMMEM_ioreq_server && !x->mem_type_server)
        error = EINVAL;
    for (uint64_t gfn = first; gfn <= last && !error; gfn++) {
        unsigned old = x->p2m_type[gfn];
        bool allowed = type == P2M_IOREQ_SERVER  ? old == P2M_RAM_RW
                       : old == P2M_IOREQ_SERVER ? type == P2M_RAM_RW
                       : old == P2M_HOLE         ? type == P2M_MMIO_DM
                                                 : is_ram(old);
        if (!allowed)
            error = EINVAL;
        else
            set_type(x, gfn, type);
    }
    pthread_rwlock_unlock(&x->mem_lock);
    return error;
}

/* Source: Xen arch/x86/mm/p2m.c, p2m_set_ioreq_server(). */
int memory_map_mem_type(struct xensim *x, struct ioreq_server *s, uint32_t flags)
{
    int error = 0;
    pthread_rwlock_wrlock(&x->mem_lock);
    if (flags) {
        if (x->mem_type_server || x->mem_type_entries)
            error = EBUSY;
        else
            x->mem_type_server = s;
    } else if (x->mem_type_server != s) {
        error = EINVAL;
    } else {
        x->mem_type_server = NULL;
        for (uint64_t gfn = 0; gfn < x->nr_gfns && x->mem_type_entries; gfn++)
            if (x->p2m_type[gfn] == P2M_IOREQ_SERVER)
                set_type(x, gfn, P2M_RAM_RW);
    }
    pthread_rwlock_unlock(&x->mem_lock);
    return error;
}

int memory_modified(struct xensim *x, const struct xen_dm_op_modified_memory_extent *e)
{
    int error = 0;
    pthread_rwlock_wrlock(&x->mem_lock);
    if (x->dirty) {
        uint64_t end = e->first_pfn + e->nr;
        if (e->pad || end <= e->first_pfn || end > x->nr_gfns)
            error = EINVAL;
        for (uint64_t gfn = e->first_pfn; !error && gfn < end; gfn++)
            if (is_ram(x->p2m_type[gfn]))
                x->dirty[gfn / 8] |= (uint8_t)(1u << gfn % 8);
    }
    pthread_rwlock_unlock(&x->mem_lock);
    return error;
}

void xensim_log_dirty(struct xensim *x, bool on)
{
    pthread_rwlock_wrlock(&x->mem_lock);
    free(x->dirty);
    x->dirty = on ? calloc(1, x->nr_gfns / 8 + 1) : NULL;
    pthread_rwlock_unlock(&x->mem_lock);
}

unsigned xensim_take_dirty(struct xensim *x, uint64_t *gfns, unsigned max)
{
    unsigned n = 0;
    pthread_rwlock_wrlock(&x->mem_lock);
    for (uint64_t gfn = 0; x->dirty && gfn < x->nr_gfns && n < max; gfn++) {
        if (x->dirty[gfn / 8] & 1u << gfn % 8) {
            x->dirty[gfn / 8] &= (uint8_t)~(1u << gfn % 8);
            gfns[n++] = gfn;
        }
    }
    pthread_rwlock_unlock(&x->mem_lock);
    return n;
}

/* XENMAPSPACE_gmfn_range: each page moves from one frame to another, replacing what was there. */
int memory_relocate(struct xensim *x, uint64_t from, uint64_t to, uint32_t nr)
{
    int error = 0;
    pthread_rwlock_wrlock(&x->mem_lock);
    for (uint32_t i = 0; i < nr && !error; i++, from++, to++) {
        if (from >= x->nr_gfns || to >= x->nr_gfns || !is_ram(x->p2m_type[from])) {
            error = EINVAL;
        } else if (from != to) {
            x->p2m[to] = x->p2m[from];
            set_type(x, to, P2M_RAM_RW);
            set_type(x, from, P2M_HOLE);
            error = show(x, to);
            if (!error)
                error = show(x, from);
        }
    }
    pthread_rwlock_unlock(&x->mem_lock);
    return error;
}

/* Caching has no meaning here; the list is kept for its errors. Source: Xen arch/x86/hvm/mtrr.c. */
int memory_pin_cacheattr(struct xensim *x, uint64_t start, uint64_t end, uint32_t type)
{
    static const uint8_t known[] = {1, 1, 0, 0, 1, 1, 1, 1}; /* UC, WC, WT, WP, WB, UC- */
    if (end < start || (start | end) >> 52)
        return EINVAL;
    bool remove = type == XEN_DMOP_DELETE_MEM_CACHEATTR;
    if (!remove && (type >= sizeof known || !known[type]))
        return EINVAL;

    int error = remove ? ENOENT : 0;
    bool done = false;
    pthread_rwlock_wrlock(&x->mem_lock);
    for (unsigned i = 0; i < x->nr_pinned && !done; i++) {
        if (x->pinned[i].start == start && x->pinned[i].end == end) {
            if (remove)
                x->pinned[i] = x->pinned[--x->nr_pinned];
            else
                x->pinned[i].type = type;
            error = 0;
            done = true;
        } else if (!remove && x->pinned[i].start <= end && start <= x->pinned[i].end) {
            error = EBUSY;
            done = true;
        }
    }
    if (!done && !remove) {
        if (x->nr_pinned == NR_PINNED) {
            error = ENOSPC;
        } else {
            x->pinned[x->nr_pinned].start = start;
            x->pinned[x->nr_pinned].end = end;
            x->pinned[x->nr_pinned++].type = type;
        }
    }
    pthread_rwlock_unlock(&x->mem_lock);
    return error;
}
