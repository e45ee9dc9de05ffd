/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of PCI functions, by uio_pci_generic. Its handler disables the function's INTx (COMMAND
 * bit 10) and counts; reading the device file waits for the next one and gives the count.
 * Source: Linux drivers/uio/uio_pci_generic.c.
 */
#ifndef GUEST_INTERRUPTS_H
#define GUEST_INTERRUPTS_H

#include <dirent.h>
#include <poll.h>

#include "access.h"

#define MAX_BOUND 32

struct bound {
    uint32_t bdf;
    int fd;
    uint32_t count;
};

static struct bound bound[MAX_BOUND];
static unsigned bound_count;
static pthread_mutex_t bound_lock = PTHREAD_MUTEX_INITIALIZER;

static inline bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

static inline void function_path(char path[static 120], uint32_t bdf, const char *file)
{
    snprintf(path, 120, "/sys/bus/pci/devices/0000:%02x:%02x.%x/%s", bdf >> 8, bdf >> 3 & 31, bdf & 7, file);
}

/* Another driver that has the function is taken off it. */
static inline const char *bind_function(uint32_t bdf, const char *driver)
{
    char path[120], name[24];
    snprintf(name, sizeof name, "0000:%02x:%02x.%x", bdf >> 8, bdf >> 3 & 31, bdf & 7);
    function_path(path, bdf, "driver/unbind");
    write_file(path, name);
    function_path(path, bdf, "driver_override");
    if (!write_file(path, driver))
        return "NO_FUNCTION";
    if (!write_file("/sys/bus/pci/drivers_probe", name))
        return "NOT_BOUND";
    function_path(path, bdf, "driver");
    return access(path, F_OK) ? "NOT_BOUND" : NULL;
}

/* The file whose reading waits, and how many interrupts came before it was open: a line that is up when the
 * driver takes the function interrupts at once, and whoever opens the file then is not told of it. */
static inline int open_uio(uint32_t bdf, uint32_t *count)
{
    char path[120];
    function_path(path, bdf, "uio");
    DIR *directory = opendir(path);
    int fd = -1;
    for (struct dirent *entry; directory && fd < 0 && (entry = readdir(directory));)
        if (!strncmp(entry->d_name, "uio", 3)) {
            char device[80], event[220];
            snprintf(device, sizeof device, "/dev/%.60s", entry->d_name);
            fd = open(device, O_RDWR | O_CLOEXEC);
            snprintf(event, sizeof event, "%s/%.60s/event", path, entry->d_name);
            FILE *file = fopen(event, "re");
            if (!file || fscanf(file, "%u", count) != 1)
                *count = 0;
            if (file)
                fclose(file);
        }
    if (directory)
        closedir(directory);
    return fd;
}

static inline const char *find_bound(uint32_t bdf, struct bound **found)
{
    const char *error = NULL;
    *found = NULL;
    pthread_mutex_lock(&bound_lock);
    kernel_uses_config = true;
    for (unsigned i = 0; i < bound_count; i++)
        if (bound[i].bdf == bdf)
            *found = &bound[i];
    if (!*found && bound_count == MAX_BOUND)
        error = "TOO_MANY";
    if (!*found && !error && !(error = bind_function(bdf, "uio_pci_generic"))) {
        uint32_t count = 0;
        int fd = open_uio(bdf, &count);
        if (fd < 0) {
            error = "NO_UIO";
        } else {
            *found = &bound[bound_count++];
            **found = (struct bound){.bdf = bdf, .fd = fd, .count = count};
        }
    }
    pthread_mutex_unlock(&bound_lock);
    return error;
}

/* Interrupts of the function so far, once there are more than `seen`, or after the time. */
static inline const char *wait_interrupt(uint32_t bdf, uint32_t seen, int timeout_ms, uint64_t *count)
{
    struct bound *b;
    const char *error = find_bound(bdf, &b);
    if (error)
        return error;
    struct pollfd poll_for = {.fd = b->fd, .events = POLLIN};
    if (b->count <= seen && poll(&poll_for, 1, timeout_ms) == 1) {
        uint32_t now;
        if (read(b->fd, &now, sizeof now) == sizeof now)
            b->count = now;
    }
    *count = b->count;
    return NULL;
}

/* What /proc/interrupts has for the function's Linux interrupt, on all CPUs. */
static inline const char *proc_interrupts(uint32_t bdf, uint64_t *count)
{
    char path[120], line[1024];
    unsigned wanted, irq;
    function_path(path, bdf, "irq");
    FILE *file = fopen(path, "re");
    bool ok = file && fscanf(file, "%u", &wanted) == 1;
    if (file)
        fclose(file);
    if (!ok)
        return "NO_FUNCTION";
    *count = 0;
    if (!(file = fopen("/proc/interrupts", "re")))
        return "NO_PROC";
    while (fgets(line, sizeof line, file)) {
        int skip = 0;
        if (sscanf(line, " %u:%n", &irq, &skip) != 1 || irq != wanted)
            continue;
        char *at = line + skip, *end;
        for (uint64_t one; one = strtoull(at, &end, 10), end != at; at = end)
            *count += one;
    }
    fclose(file);
    return NULL;
}

#endif
