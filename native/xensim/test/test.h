/* SPDX-License-Identifier: MIT */
/* The self-test's own tools. Host and device model share this process; a vCPU is a thread. What
 * has to die for the test is another process (see process.c). */
#ifndef XENSIM_TEST_H
#define XENSIM_TEST_H

#include "../host/xensim.h"
#include "../lib/client.h"
#include "../lib/xen.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEST_VCPUS 4
#define TEST_RAM (4u << 20)
#define MMIO UINT64_C(0xf0000000)

void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_fail(__FILE__, __LINE__, "%s (errno %d)", #condition, errno);                     \
    } while (0)
#define EQUAL(got, want)                                                                           \
    do {                                                                                           \
        unsigned long long got_ = (unsigned long long)(got), want_ = (unsigned long long)(want);   \
        if (got_ != want_)                                                                         \
            test_fail(__FILE__, __LINE__, "%s is %#llx, not %#llx", #got, got_, want_);            \
    } while (0)
/* A library call that fails with an errno. */
#define FAILS(call, code)                                                                          \
    do {                                                                                           \
        errno = 0;                                                                                 \
        int rc_ = (call);                                                                          \
        if (rc_ != -1 || errno != (code))                                                          \
            test_fail(__FILE__, __LINE__, "%s gives %d, errno %d, not %s", #call, rc_, errno, #code); \
    } while (0)
#define FAILS_NULL(call, code)                                                                     \
    do {                                                                                           \
        errno = 0;                                                                                 \
        if ((call) || errno != (code))                                                             \
            test_fail(__FILE__, __LINE__, "%s: errno %d, not %s", #call, errno, #code);            \
    } while (0)

struct test {
    const char *name;
    void (*run)(void);
};
extern const struct test server_tests[], evtchn_tests[], request_tests[], rep_tests[], ring_tests[],
    memory_tests[], irq_tests[], life_tests[], arm_tests[], process_tests[],
    mmcfg_tests[];

/* ---- the host under test; started by the runner before each test ---- */

extern struct xensim *host;
extern char socket_path[];
void host_restart(enum xensim_arch arch, unsigned spin_us);

/* ---- a device model in this process ---- */

struct dm {
    xendevicemodel_handle *model;
    xenforeignmemory_handle *memory;
    xenevtchn_handle *evtchn;
    ioservid_t id;
    xenforeignmemory_resource_handle *resource;
    struct xen_buffered_iopage *ring; /* NULL without one */
    struct xen_ioreq *slot;
    evtchn_port_t port[TEST_VCPUS], ring_port;
};

void dm_open(struct dm *dm);
void dm_close(struct dm *dm); /* handles and mappings; the server stays */
/* Create, map, enable, bind, and take the event that each bind raises. */
void dm_start(struct dm *dm, int bufioreq);
void dm_map(struct dm *dm, int bufioreq);
void dm_bind(struct dm *dm);
void dm_range(struct dm *dm, int is_mmio, uint64_t start, uint64_t end);
/* Wait until a port number can be read; 0 when none comes. */
evtchn_port_t dm_event(struct dm *dm, int timeout_ms);
uint8_t slot_state(const struct xen_ioreq *slot);
void set_state(struct xen_ioreq *slot, uint8_t state);
/* Wait for a request of a vCPU, and copy it. */
struct xen_ioreq dm_request(struct dm *dm, unsigned vcpu);
void dm_answer(struct dm *dm, unsigned vcpu, uint64_t data);

/* ---- an access on a thread of its own ---- */

struct access {
    pthread_t thread;
    unsigned vcpu;
    int (*run)(struct access *);
    enum xensim_space space;
    bool write, df;
    uint64_t addr, ram, data;
    unsigned width;
    uint32_t count, done;
    struct xen_ioreq raw;
    uint8_t buffer[64];
    _Atomic bool finished;
    enum xensim_result result;
};

void start_read(struct access *a, unsigned vcpu, enum xensim_space space, uint64_t addr, unsigned width);
void start_write(struct access *a, unsigned vcpu, enum xensim_space space, uint64_t addr,
                 unsigned width, uint64_t data);
void start(struct access *a, int (*run)(struct access *));
enum xensim_result finish(struct access *a);
/* Whether it is still waiting after a while. */
bool blocked(struct access *a);

uint64_t now_ms(void);
void sleep_ms(unsigned ms);
bool console_has(const char *text);
struct xensim_counters counters(void);

#endif
