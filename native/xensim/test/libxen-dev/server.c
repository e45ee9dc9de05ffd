/* SPDX-License-Identifier: MIT */
/*
 * An ioreq server written against libxen-dev's own headers and linked with its libraries: a
 * latch of 8 bytes at 0xf0000000 and a port 0x510 that raises INTA of device 5. Run with
 * LD_LIBRARY_PATH it must find the simulated Xen's libraries to be the same.
 */
#define __XEN_TOOLS__ 1 /* what xenctrl.h does for toolstacks */

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xentoolcore.h>

#include <xen/hvm/dm_op.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/ioreq.h>
#include <xen/memory.h>

#define LATCH UINT64_C(0xf0000000)
#define DOMID 1
#define MAX_VCPUS 16

static int check(const char *what, int failed)
{
    if (failed)
        perror(what);
    return failed;
}

static uint64_t latch;

static void serve(xendevicemodel_handle *model, ioreq_t *request)
{
    if (request->type == IOREQ_TYPE_COPY && request->dir == IOREQ_READ)
        request->data = latch >> 8 * (request->addr - LATCH);
    else if (request->type == IOREQ_TYPE_COPY)
        latch = request->data;
    else if (request->type == IOREQ_TYPE_PIO && request->dir == IOREQ_WRITE)
        check("intx", xendevicemodel_set_pci_intx_level(model, DOMID, 0, 0, 5, 0, request->data & 1));
}

int main(void)
{
    xendevicemodel_handle *model = xendevicemodel_open(NULL, 0);
    xenforeignmemory_handle *memory = xenforeignmemory_open(NULL, 0);
    xenevtchn_handle *evtchn = xenevtchn_open(NULL, 0);
    ioservid_t id;
    unsigned vcpus;
    void *page = NULL;
    if (check("open", !model || !memory || !evtchn) ||
        check("create", xendevicemodel_create_ioreq_server(model, DOMID, HVM_IOREQSRV_BUFIOREQ_OFF, &id)) ||
        check("vcpus", xendevicemodel_nr_vcpus(model, DOMID, &vcpus)) ||
        check("map", !xenforeignmemory_map_resource(memory, DOMID, XENMEM_resource_ioreq_server, id,
                                                    XENMEM_resource_ioreq_server_frame_ioreq(0), 1,
                                                    &page, PROT_READ | PROT_WRITE, 0)) ||
        check("range", xendevicemodel_map_io_range_to_ioreq_server(model, DOMID, id, 1, LATCH, LATCH + 7)) ||
        check("port", xendevicemodel_map_io_range_to_ioreq_server(model, DOMID, id, 0, 0x510, 0x510)) ||
        check("enable", xendevicemodel_set_ioreq_server_state(model, DOMID, id, 1)))
        return 1;

    shared_iopage_t *io = page;
    xenevtchn_port_or_error_t port[MAX_VCPUS];
    for (unsigned i = 0; i < vcpus && i < MAX_VCPUS; i++) {
        port[i] = xenevtchn_bind_interdomain(evtchn, DOMID, io->vcpu_ioreq[i].vp_eport);
        if (check("bind", port[i] < 0))
            return 1;
    }
    if (check("restrict", xentoolcore_restrict_all(DOMID)))
        return 1;

    struct pollfd p = {.fd = xenevtchn_fd(evtchn), .events = POLLIN};
    while (poll(&p, 1, -1) == 1 && !(p.revents & POLLHUP)) {
        xenevtchn_port_or_error_t ready = xenevtchn_pending(evtchn);
        if (ready < 0 || xenevtchn_unmask(evtchn, ready))
            return 1;
        for (unsigned i = 0; i < vcpus && i < MAX_VCPUS; i++) {
            ioreq_t *request = &io->vcpu_ioreq[i];
            if (port[i] != ready || request->state != STATE_IOREQ_READY)
                continue;
            __sync_synchronize();
            request->state = STATE_IOREQ_INPROCESS;
            serve(model, request);
            __sync_synchronize();
            request->state = STATE_IORESP_READY;
            xenevtchn_notify(evtchn, ready);
        }
    }
    return 0;
}
