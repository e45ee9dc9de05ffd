// SPDX-License-Identifier: MIT
/*
 * What ioreqd is measured against: an ioreq server in C, as small as one can
 * be. One counter register at 0xf0000000, all vCPUs.
 *
 *   server          poll(2), xenevtchn_pending, serve, notify: the usual loop
 *   server --spin   look at the slots all the time: the limit
 *
 * Built against the headers of libxen-dev; runs on xensim and on Xen alike.
 */
#define __XEN_TOOLS__ 1 /* for the constants of dm_op.h */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/ioreq.h>
#include <xen/memory.h>

#define BASE 0xf0000000ul
#define MAX_VCPUS 128

static volatile sig_atomic_t ending;
static uint64_t counter;

static void on_signal(int number)
{
    (void)number;
    ending = 1;
}

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

/* With --msi each write sends one. */
static xendevicemodel_handle *messages;
static domid_t receiver;

/* Returns whether there was a request. */
static int serve(xenevtchn_handle *evtchn, volatile ioreq_t *slot, evtchn_port_t port)
{
    if (slot->state != STATE_IOREQ_READY)
        return 0;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    slot->state = STATE_IOREQ_INPROCESS;
    if (slot->type == IOREQ_TYPE_INVALIDATE)
        ;
    else if (slot->dir == IOREQ_READ && !slot->data_is_ptr)
        slot->data = counter++;
    else if (messages)
        must(xendevicemodel_inject_msi(messages, receiver, 0xfee00000, 0x41) == 0, "inject_msi");
    __atomic_thread_fence(__ATOMIC_RELEASE);
    slot->state = STATE_IORESP_READY;
    must(xenevtchn_notify(evtchn, port) == 0, "xenevtchn_notify");
    return 1;
}

int main(int argc, char **argv)
{
    const char *domid_text = getenv("IOREQD_DOMID");
    domid_t domid = domid_text ? atoi(domid_text) : 1;
    int spin = 0, msi = 0;
    for (int i = 1; i < argc; i++) {
        spin |= strcmp(argv[i], "--spin") == 0;
        msi |= strcmp(argv[i], "--msi") == 0;
    }
    evtchn_port_t ports[MAX_VCPUS];
    unsigned vcpus;
    ioservid_t id;
    void *page = NULL;
    struct sigaction action = { .sa_handler = on_signal };

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    xendevicemodel_handle *dm = xendevicemodel_open(NULL, 0);
    xenforeignmemory_handle *memory = xenforeignmemory_open(NULL, 0);
    xenevtchn_handle *evtchn = xenevtchn_open(NULL, 0);
    must(dm && memory && evtchn, "open");
    messages = msi ? dm : NULL;
    receiver = domid;
    must(xendevicemodel_nr_vcpus(dm, domid, &vcpus) == 0, "nr_vcpus");
    must(vcpus <= MAX_VCPUS, "too many vCPUs");
    must(xendevicemodel_create_ioreq_server(dm, domid, HVM_IOREQSRV_BUFIOREQ_OFF, &id) == 0, "create_ioreq_server");
    xenforeignmemory_resource_handle *resource =
        xenforeignmemory_map_resource(memory, domid, XENMEM_resource_ioreq_server, id,
                                      XENMEM_resource_ioreq_server_frame_ioreq(0), 1, &page, PROT_READ | PROT_WRITE, 0);
    must(resource != NULL, "map_resource");
    must(xendevicemodel_map_io_range_to_ioreq_server(dm, domid, id, 1, BASE, BASE + 0xfff) == 0, "map_io_range");
    must(xendevicemodel_set_ioreq_server_state(dm, domid, id, 1) == 0, "set_ioreq_server_state");

    shared_iopage_t *shared = page;
    for (unsigned i = 0; i < vcpus; i++) {
        xenevtchn_port_or_error_t port = xenevtchn_bind_interdomain(evtchn, domid, shared->vcpu_ioreq[i].vp_eport);
        must(port >= 0, "bind_interdomain");
        ports[i] = port;
    }

    struct pollfd pending = { .fd = xenevtchn_fd(evtchn), .events = POLLIN };
    while (!ending) {
        if (spin) {
            for (unsigned n = 0; n < 1000; n++)
                for (unsigned i = 0; i < vcpus; i++)
                    serve(evtchn, &shared->vcpu_ioreq[i], ports[i]);
            continue;
        }
        if (poll(&pending, 1, -1) <= 0)
            continue;
        xenevtchn_port_or_error_t port = xenevtchn_pending(evtchn);
        must(port >= 0, "xenevtchn_pending");
        must(xenevtchn_unmask(evtchn, port) == 0, "xenevtchn_unmask");
        for (unsigned i = 0; i < vcpus; i++)
            if (ports[i] == (evtchn_port_t)port)
                serve(evtchn, &shared->vcpu_ioreq[i], port);
    }

    must(xendevicemodel_set_ioreq_server_state(dm, domid, id, 0) == 0, "set_ioreq_server_state");
    xenforeignmemory_unmap_resource(memory, resource);
    must(xendevicemodel_destroy_ioreq_server(dm, domid, id) == 0, "destroy_ioreq_server");
    xenevtchn_close(evtchn);
    xenforeignmemory_close(memory);
    xendevicemodel_close(dm);
    return 0;
}
