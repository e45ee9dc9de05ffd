/* SPDX-License-Identifier: MIT */
/* Device models that are processes: killed and replaced, and re-executed. */
#include "test.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- the other process ---- */

static void serve_slot(struct dm *dm, unsigned vcpu)
{
    struct xen_ioreq *slot = &dm->slot[vcpu];
    uint8_t state = slot_state(slot);
    if (state == STATE_IORESP_READY) { /* its notification died with the one before us */
        xenevtchn_notify(dm->evtchn, dm->port[vcpu]);
        return;
    }
    if (state == STATE_IOREQ_NONE)
        return;
    set_state(slot, STATE_IOREQ_INPROCESS);
    slot->data = slot->addr * 3;
    set_state(slot, STATE_IORESP_READY);
    xenevtchn_notify(dm->evtchn, dm->port[vcpu]);
}

/* Requests may be waiting, so events come in any order: the serving loop takes them. */
static void bind_all(struct dm *dm)
{
    for (unsigned i = 0; i < TEST_VCPUS; i++) {
        int port = xenevtchn_bind_interdomain(dm->evtchn, XENSIM_DOMID, dm->slot[i].vp_eport);
        CHECK(port > 0);
        dm->port[i] = (evtchn_port_t)port;
    }
}

static void serve_events(struct dm *dm)
{
    for (unsigned i = 0; i < TEST_VCPUS; i++)
        serve_slot(dm, i);
    struct pollfd p = {.fd = xenevtchn_fd(dm->evtchn), .events = POLLIN};
    while (poll(&p, 1, -1) == 1 && !(p.revents & POLLHUP)) {
        evtchn_port_t port[16];
        ssize_t n = read(p.fd, port, sizeof port);
        for (ssize_t i = 0; i < n / 4; i++) {
            xenevtchn_unmask(dm->evtchn, port[i]);
            for (unsigned v = 0; v < TEST_VCPUS; v++)
                if (dm->port[v] == port[i] && slot_state(&dm->slot[v]) == STATE_IOREQ_READY)
                    serve_slot(dm, v);
        }
    }
}

static void serve_spinning(struct dm *dm)
{
    for (unsigned turn = 0;; turn++) {
        for (unsigned v = 0; v < TEST_VCPUS; v++)
            if (slot_state(&dm->slot[v]) == STATE_IOREQ_READY)
                serve_slot(dm, v);
        if (turn % 256 == 0)
            sched_yield();
    }
}

/* process serve|spin|attach|exec|after-exec ID [FD PORTS...] */
int process_main(int argc, char **argv)
{
    struct dm dm;
    dm_open(&dm);
    (void)argc;
    if (!strcmp(argv[0], "after-exec")) {
        xenevtchn_close(dm.evtchn);
        CHECK((dm.evtchn = xenevtchn_fdopen(NULL, atoi(argv[2]), 0)));
        for (unsigned i = 0; i < TEST_VCPUS; i++)
            dm.port[i] = (evtchn_port_t)atoi(argv[3 + i]);
        dm.id = (ioservid_t)atoi(argv[1]);
        dm_map(&dm, 0);
        serve_events(&dm);
        return 0;
    }
    if (!strcmp(argv[0], "exec")) {
        xenevtchn_close(dm.evtchn);
        CHECK((dm.evtchn = xenevtchn_open(NULL, XENEVTCHN_NO_CLOEXEC)));
    }
    dm.id = (ioservid_t)atoi(argv[1]);
    dm_map(&dm, 0);
    if (strcmp(argv[0], "attach"))
        EQUAL(xendevicemodel_set_ioreq_server_state(dm.model, 1, dm.id, 1), 0);
    bind_all(&dm);
    if (!strcmp(argv[0], "exec")) {
        char id[8], fd[8], port[TEST_VCPUS][12];
        char *args[6 + TEST_VCPUS] = {"/proc/self/exe", "process", "after-exec", id, fd};
        snprintf(id, sizeof id, "%u", dm.id);
        snprintf(fd, sizeof fd, "%d", xenevtchn_fd(dm.evtchn));
        for (unsigned i = 0; i < TEST_VCPUS; i++) {
            snprintf(port[i], sizeof port[i], "%u", dm.port[i]);
            args[5 + i] = port[i];
        }
        execv(args[0], args);
        return 1;
    }
    if (!strcmp(argv[0], "spin"))
        serve_spinning(&dm);
    else
        serve_events(&dm);
    return 0;
}

/* ---- this side ---- */

static pid_t spawn(const char *mode, ioservid_t id)
{
    char number[8];
    pid_t pid;
    snprintf(number, sizeof number, "%u", id);
    char *args[] = {"/proc/self/exe", "process", (char *)mode, number, NULL};
    EQUAL(posix_spawn(&pid, args[0], NULL, NULL, args, environ), 0);
    return pid;
}

static void kill_and_reap(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status)); /* else it had failed by itself */
}

static ioservid_t make_server(void)
{
    struct dm dm;
    dm_open(&dm);
    EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, 0, &dm.id), 0);
    dm_range(&dm, 1, MMIO, MMIO + 0xffff);
    dm_close(&dm);
    return dm.id;
}

static _Atomic bool enough;

static int keep_reading(struct access *a)
{
    while (!enough) {
        uint64_t addr = MMIO + (a->done * 4 + a->vcpu * 0x1000) % 0x10000, data = 0;
        enum xensim_result result = xensim_vcpu_access(host, a->vcpu, XENSIM_MMIO, false, addr, 4, &data);
        if (result != XENSIM_HANDLED || data != (uint32_t)(addr * 3))
            return XENSIM_UNHANDLED;
        a->done++;
    }
    return XENSIM_HANDLED;
}

static void start_readers(struct access *a)
{
    enough = false;
    for (unsigned i = 0; i < TEST_VCPUS; i++) {
        a[i] = (struct access){.vcpu = i};
        start(&a[i], keep_reading);
    }
}

static uint32_t stop_readers(struct access *a)
{
    uint32_t total = 0;
    enough = true;
    for (unsigned i = 0; i < TEST_VCPUS; i++) {
        EQUAL(finish(&a[i]), XENSIM_HANDLED);
        total += a[i].done;
    }
    return total;
}

static void killed_and_replaced(const char *mode)
{
    struct access a[TEST_VCPUS];
    ioservid_t id = make_server();
    pid_t pid = spawn(mode, id);
    CHECK(xensim_wait_server_enabled(host, 5000));
    start_readers(a);
    for (unsigned round = 0; round < 6; round++) {
        sleep_ms(40);
        kill_and_reap(pid);
        pid = spawn("attach", id); /* may bind at once: the kernel has closed the dead one's end */
    }
    sleep_ms(40);
    CHECK(stop_readers(a) > 100);
    CHECK(!xensim_crash_reason(host));
    kill_and_reap(pid);
}

static void an_event_driven_server_dies(void)
{
    killed_and_replaced("serve");
}

static void a_spinning_server_dies(void)
{
    killed_and_replaced("spin");
}

static void nobody_home(void)
{
    struct access a;
    struct dm dm;
    ioservid_t id = make_server();
    pid_t pid = spawn("serve", id);
    CHECK(xensim_wait_server_enabled(host, 5000));
    start_read(&a, 0, XENSIM_MMIO, MMIO, 4);
    EQUAL(finish(&a), XENSIM_HANDLED);
    kill_and_reap(pid);
    for (unsigned i = 0; i < 5000 && counters().clients > 0; i++)
        sleep_ms(1); /* the host hears of a process's end from its sockets */
    EQUAL(counters().clients, 0);
    start_read(&a, 0, XENSIM_MMIO, MMIO + 4, 4);
    CHECK(blocked(&a)); /* for as long as it takes */
    dm_open(&dm);
    dm.id = id;
    dm_map(&dm, 0);
    dm_request(&dm, 0);
    dm_bind(&dm);
    dm_answer(&dm, 0, 0x55);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 0x55);
    EQUAL(counters().clients, 3);
    CHECK(counters().notify_dropped >= 1);
    dm_close(&dm);
}

static void through_exec(void)
{
    struct access a[TEST_VCPUS];
    ioservid_t id = make_server();
    pid_t pid = spawn("exec", id);
    CHECK(xensim_wait_server_enabled(host, 5000));
    start_readers(a);
    sleep_ms(200);
    CHECK(stop_readers(a) > 100);
    kill_and_reap(pid);
    struct dm dm; /* and the ports are free again */
    dm_open(&dm);
    dm.id = id;
    dm_map(&dm, 0);
    dm_bind(&dm);
    dm_close(&dm);
}

static void ranges_change_under_load(void)
{
    struct access a[TEST_VCPUS];
    struct dm dm;
    ioservid_t id = make_server(), other;
    pid_t pid = spawn("serve", id);
    CHECK(xensim_wait_server_enabled(host, 5000));
    dm_open(&dm);
    dm.id = id;
    start_readers(a);
    for (unsigned i = 0; i < 100; i++) {
        dm_range(&dm, 1, MMIO + 0x100000, MMIO + 0x100fff);
        EQUAL(xendevicemodel_unmap_io_range_from_ioreq_server(dm.model, 1, id, 1, MMIO + 0x100000, MMIO + 0x100fff), 0);
        EQUAL(xendevicemodel_create_ioreq_server(dm.model, 1, 2, &other), 0);
        EQUAL(xendevicemodel_set_ioreq_server_state(dm.model, 1, other, 1), 0);
        EQUAL(xendevicemodel_destroy_ioreq_server(dm.model, 1, other), 0);
    }
    CHECK(stop_readers(a) > 0);
    dm_close(&dm);
    kill_and_reap(pid);
}

/* Built by the Makefile where libxen-dev is installed. */
static void a_server_built_with_libxen_dev(void)
{
    char self[256] = {0}, path[300], libraries[300];
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s/libxen-dev-server", self);
    snprintf(libraries, sizeof libraries, "LD_LIBRARY_PATH=%s/lib", self);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* the libraries are instrumented and the server is not */
#endif
    if (access(path, X_OK))
        return;
    char socket[100];
    snprintf(socket, sizeof socket, WIRE_SOCKET_ENV "=%s", socket_path);
    char *args[] = {path, NULL}, *env[] = {libraries, socket, NULL};
    pid_t pid;
    struct access a;
    uint64_t data;
    EQUAL(posix_spawn(&pid, path, NULL, NULL, args, env), 0);
    CHECK(xensim_wait_server_enabled(host, 5000));
    start_write(&a, 3, XENSIM_MMIO, MMIO, 8, UINT64_C(0x8877665544332211));
    EQUAL(finish(&a), XENSIM_HANDLED);
    start_read(&a, 0, XENSIM_MMIO, MMIO + 2, 2);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 0x4433);
    start_write(&a, 1, XENSIM_PIO, 0x510, 1, 1);
    EQUAL(finish(&a), XENSIM_HANDLED);
    CHECK(xensim_gsi_level(host, 36));
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, false, 0x511, 1, &data), XENSIM_UNHANDLED);
    kill_and_reap(pid);
}

const struct test process_tests[] = {
    {"process: a server built with libxen-dev", a_server_built_with_libxen_dev},
    {"process: an event-driven server dies", an_event_driven_server_dies},
    {"process: a spinning server dies", a_spinning_server_dies},
    {"process: nobody home", nobody_home},
    {"process: through exec", through_exec},
    {"process: ranges change under load", ranges_change_under_load},
    {NULL, NULL},
};
