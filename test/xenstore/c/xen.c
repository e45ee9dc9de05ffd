/* SPDX-License-Identifier: MIT */
/*
 * As much of Xen as a real xenstored asks for, so that one runs without: LD_PRELOAD this into it.
 *
 * XEN_DOMAINS    file, a line for each domain that Xen knows: its number and "running", "shutdown" or "dying"
 * XEN_EVENTS     FIFO; each byte written to it raises VIRQ_DOM_EXC: some domain has changed
 *
 * The rings that dom0's kernel and guests have are pages of zeroes that nobody writes to.
 */
#define _GNU_SOURCE /* RTLD_NEXT, memfd_create */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

enum { VIRQ_PORT = 1, GUEST_PORT = 2, PAGE = 4096 };

static char handle; /* its address stands for any of the libraries' handles */
static int events = -1;

/* dom0's kernel tells its own event channel and ring through two files. */
int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    mode_t mode = 0;
    va_list more;
    int fd;

    if (flags & O_CREAT) {
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (strncmp(path, "/proc/xen/xsd_", 14) != 0) return real(path, flags, mode);
    fd = memfd_create(path + 10, MFD_CLOEXEC);
    if (fd < 0) return fd;
    if (strcmp(path, "/proc/xen/xsd_port") == 0) return pwrite(fd, "2", 1, 0) == 1 ? fd : -1;
    return ftruncate(fd, PAGE) == 0 ? fd : -1;
}

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild_logger, unsigned open_flags)
{
    (void)logger, (void)dombuild_logger, (void)open_flags;
    return (xc_interface *)&handle;
}

int xc_interface_close(xc_interface *xch)
{
    (void)xch;
    return 0;
}

/* Domains from `first` on, in the order of their numbers. */
int xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned int max, xc_dominfo_t *info)
{
    unsigned int domid, found = 0;
    char state[16];
    FILE *domains = fopen(getenv("XEN_DOMAINS"), "r");

    (void)xch;
    if (domains == NULL) return -1;
    while (found < max && fscanf(domains, "%u %15s", &domid, state) == 2) {
        if (domid < first) continue;
        memset(&info[found], 0, sizeof info[found]);
        info[found].domid = domid;
        info[found].running = strcmp(state, "running") == 0;
        info[found].shutdown = strcmp(state, "shutdown") == 0;
        info[found].dying = strcmp(state, "dying") == 0;
        found++;
    }
    fclose(domains);
    return (int)found;
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
    (void)logger, (void)flags;
    events = open(getenv("XEN_EVENTS"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return events < 0 ? NULL : (xenevtchn_handle *)&handle;
}

xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd, unsigned open_flags)
{
    (void)logger, (void)fd, (void)open_flags;
    return NULL;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
    (void)xce;
    return events;
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
    (void)xce, (void)virq;
    return VIRQ_PORT;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid, evtchn_port_t remote)
{
    (void)xce, (void)domid, (void)remote;
    return GUEST_PORT;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
    char byte;

    (void)xce;
    return read(events, &byte, 1) == 1 ? VIRQ_PORT : -1;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce, (void)port;
    return 0;
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce, (void)port;
    return 0;
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce, (void)port;
    return 0;
}

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    (void)logger, (void)open_flags;
    return (xengnttab_handle *)&handle;
}

int xengnttab_close(xengnttab_handle *xgt)
{
    (void)xgt;
    return 0;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr_grants)
{
    (void)xgt, (void)nr_grants;
    return 0;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot)
{
    void *page = mmap(NULL, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)xgt, (void)domid, (void)ref;
    return page == MAP_FAILED ? NULL : page;
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t count)
{
    (void)xgt;
    return munmap(start, (size_t)count * PAGE);
}
