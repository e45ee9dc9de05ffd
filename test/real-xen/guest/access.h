/* SPDX-License-Identifier: MIT */
/*
 * Accesses of exactly one instruction each: ports, physical memory, configuration space.
 * A function returns NULL, or why it could not be done.
 */
#ifndef GUEST_ACCESS_H
#define GUEST_ACCESS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text.h"

#define PAGE 4096u
#define CF8 0xcf8
#define CFC 0xcfc

/* ---- faults ---- */

static _Thread_local sigjmp_buf fault_return;
static _Thread_local volatile sig_atomic_t fault_expected;

static inline void on_fault(int signal)
{
    if (fault_expected)
        siglongjmp(fault_return, signal);
    _exit(128 + signal);
}

static inline void catch_faults(void)
{
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

/* What runs between is ended by a fault, which is then the reply. */
#define GUARDED(...)                                                                               \
    do {                                                                                           \
        if (sigsetjmp(fault_return, 1))                                                            \
            return fault_expected = 0, "FAULT";                                                    \
        fault_expected = 1;                                                                        \
        __VA_ARGS__;                                                                               \
        fault_expected = 0;                                                                        \
    } while (0)

/* ---- ports ---- */

static inline const char *port_in(unsigned width, uint16_t port, uint64_t *value)
{
    GUARDED(*value = width == 1 ? inb(port) : width == 2 ? inw(port) : inl(port));
    return NULL;
}

static inline const char *port_out(unsigned width, uint16_t port, uint64_t value)
{
    GUARDED(if (width == 1) outb((uint8_t)value, port); else if (width == 2)
                outw((uint16_t)value, port);
            else outl((uint32_t)value, port));
    return NULL;
}

/* ---- physical memory ---- */

struct window {
    unsigned char *page, *at;
    size_t length;
};

/* Uncached, as for device memory; RAM that the kernel does not know is coherent with this too. */
static inline const char *window_open(struct window *w, uint64_t gpa, uint64_t length)
{
    static int memory = -1;
    if (memory < 0)
        memory = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
    uint64_t first = gpa & ~(uint64_t)(PAGE - 1);
    w->length = (size_t)((gpa + length + PAGE - 1 - first) & ~(uint64_t)(PAGE - 1));
    w->page = mmap(NULL, w->length, PROT_READ | PROT_WRITE, MAP_SHARED, memory, (off_t)first);
    if (w->page == MAP_FAILED)
        return "NO_MAPPING";
    w->at = w->page + (gpa - first);
    return NULL;
}

static inline void window_close(struct window *w)
{
    munmap(w->page, w->length);
}

static inline const char *load(unsigned width, const volatile void *at, uint64_t *value)
{
    GUARDED(*value = width == 1   ? *(const volatile uint8_t *)at
                     : width == 2 ? *(const volatile uint16_t *)at
                     : width == 4 ? *(const volatile uint32_t *)at
                                  : *(const volatile uint64_t *)at);
    return NULL;
}

static inline const char *store(unsigned width, volatile void *at, uint64_t value)
{
    GUARDED(switch (width) {
        case 1: *(volatile uint8_t *)at = (uint8_t)value; break;
        case 2: *(volatile uint16_t *)at = (uint16_t)value; break;
        case 4: *(volatile uint32_t *)at = (uint32_t)value; break;
        default: *(volatile uint64_t *)at = value;
    });
    return NULL;
}

/* ---- rep instructions; `count` is left with what was not moved ---- */

#define REP(instruction, ...)                                                                      \
    do {                                                                                           \
        if (backwards)                                                                             \
            __asm__ volatile("std; rep " instruction "; cld" __VA_ARGS__);                              \
        else                                                                                       \
            __asm__ volatile("rep " instruction __VA_ARGS__);                                           \
    } while (0)

static inline const char *rep_ins(unsigned width, uint16_t port, void *to, uint64_t *count, bool backwards)
{
    uint64_t left = *count;
#define INS(letter) REP("ins" letter, : "+D"(to), "+c"(left) : "d"(port) : "memory", "cc")
    GUARDED(if (width == 1) INS("b"); else if (width == 2) INS("w"); else INS("l"));
#undef INS
    *count -= left;
    return NULL;
}

static inline const char *rep_outs(unsigned width, uint16_t port, const void *from, uint64_t *count,
                            bool backwards)
{
    uint64_t left = *count;
#define OUTS(letter) REP("outs" letter, : "+S"(from), "+c"(left) : "d"(port) : "memory", "cc")
    GUARDED(if (width == 1) OUTS("b"); else if (width == 2) OUTS("w"); else OUTS("l"));
#undef OUTS
    *count -= left;
    return NULL;
}

static inline const char *rep_movs(unsigned width, void *to, const void *from, uint64_t *count,
                            bool backwards)
{
    uint64_t left = *count;
#define MOVS(letter) REP("movs" letter, : "+D"(to), "+S"(from), "+c"(left) : : "memory", "cc")
    GUARDED(if (width == 1) MOVS("b"); else if (width == 2) MOVS("w"); else if (width == 4)
                MOVS("l");
            else MOVS("q"));
#undef MOVS
    *count -= left;
    return NULL;
}

/* ---- configuration space ---- */

/* CF8 is one register for all vCPUs. */
static pthread_mutex_t config_lock = PTHREAD_MUTEX_INITIALIZER;

/* Once it handles interrupts of functions. */
static bool kernel_uses_config;

/*
 * The kernel uses CF8 as well, in interrupt handlers, and can't be locked out from here: so look
 * whether it did, and read again.
 */
static inline const char *config_read(unsigned width, uint32_t bdf, uint32_t offset, uint64_t *value)
{
    uint32_t address = 0x80000000u | bdf << 8 | (offset & 0xfc);
    const char *error = NULL;
    pthread_mutex_lock(&config_lock);
    for (unsigned tries = 0; tries < 100; tries++) {
        uint64_t now = 0;
        if ((error = port_out(4, CF8, address)) ||
            (error = port_in(width, (uint16_t)(CFC + (offset & 3)), value)) ||
            !kernel_uses_config || (error = port_in(4, CF8, &now)) || now == address)
            break;
    }
    pthread_mutex_unlock(&config_lock);
    return error;
}

static inline const char *config_write(unsigned width, uint32_t bdf, uint32_t offset, uint64_t value)
{
    pthread_mutex_lock(&config_lock);
    const char *error = port_out(4, CF8, 0x80000000u | bdf << 8 | (offset & 0xfc));
    if (!error)
        error = port_out(width, (uint16_t)(CFC + (offset & 3)), value);
    pthread_mutex_unlock(&config_lock);
    return error;
}

/* The same through the kernel. It cuts an access that is not aligned. */
static inline const char *sysfs_config(bool write, unsigned width, uint32_t bdf, uint32_t offset, uint64_t *value)
{
    char path[80];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/0000:%02x:%02x.%x/config", bdf >> 8,
             bdf >> 3 & 31, bdf & 7);
    int fd = open(path, write ? O_WRONLY | O_CLOEXEC : O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return "NO_FUNCTION";
    ssize_t moved = write ? pwrite(fd, value, width, offset) : pread(fd, value, width, offset);
    close(fd);
    return moved == (ssize_t)width ? NULL : "SHORT";
}

#endif
