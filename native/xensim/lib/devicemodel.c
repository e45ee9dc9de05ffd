/* SPDX-License-Identifier: MIT */
/* libxendevicemodel.so.1. Source of the behaviour: Xen tools/libs/devicemodel/core.c. */
#include "client.h"
#include "devicemodel.h"

#include <errno.h>
#include <stdlib.h>

struct xendevicemodel_handle {
    Xentoolcore__Active_Handle active;
    struct client client;
};

EXPORT int xendevicemodel_restrict(xendevicemodel_handle *dmod, domid_t domid)
{
    struct client_call call = {.request = {.op = WIRE_RESTRICT, .domid = domid}};
    return client_call(&dmod->client, &call);
}

static int restrict_handle(Xentoolcore__Active_Handle *active, domid_t domid)
{
    xendevicemodel_handle *dmod = (xendevicemodel_handle *)active;
    return dmod->client.fd < 0 ? 0 : xendevicemodel_restrict(dmod, domid);
}

EXPORT xendevicemodel_handle *xendevicemodel_open(struct xentoollog_logger *logger,
                                                  unsigned int open_flags)
{
    (void)logger;
    (void)open_flags;
    xendevicemodel_handle *dmod = calloc(1, sizeof *dmod);
    if (!dmod)
        return NULL;
    dmod->client.fd = -1;
    dmod->active.restrict_callback = restrict_handle;
    xentoolcore__register_active_handle(&dmod->active);
    if (!client_open(&dmod->client, WIRE_DEVICEMODEL))
        return dmod;
    int error = errno;
    xentoolcore__deregister_active_handle(&dmod->active);
    free(dmod);
    errno = error;
    return NULL;
}

EXPORT int xendevicemodel_close(xendevicemodel_handle *dmod)
{
    if (!dmod)
        return 0;
    xentoolcore__deregister_active_handle(&dmod->active);
    client_close(&dmod->client);
    free(dmod);
    return 0;
}

static int dm_op2(xendevicemodel_handle *dmod, domid_t domid, struct dmop *op, void *buffer,
                  size_t size, unsigned buffers)
{
    if (size > WIRE_DM_OP_BUF_MAX) { /* Linux privcmd refuses before Xen sees it */
        errno = E2BIG;
        return -1;
    }
    struct client_call call = {
        .request = {.op = WIRE_DM_OP, .domid = domid, .a = sizeof *op, .b = size, .c = buffers},
        .in = {op, buffer}, .in_length = {sizeof *op, size},
        .out = {op, buffer}, .out_length = {sizeof *op, size},
    };
    return client_call(&dmod->client, &call);
}

int dm_op(xendevicemodel_handle *dmod, domid_t domid, struct dmop *op)
{
    return dm_op2(dmod, domid, op, NULL, 0, 1);
}

/* ---- ioreq servers ---- */

EXPORT int xendevicemodel_create_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                              int handle_bufioreq, ioservid_t *id)
{
    struct dmop op = {.op = XEN_DMOP_create_ioreq_server};
    op.u.create_ioreq_server.handle_bufioreq = (uint8_t)handle_bufioreq;
    if (dm_op(dmod, domid, &op))
        return -1;
    *id = op.u.create_ioreq_server.id;
    return 0;
}

EXPORT int xendevicemodel_get_ioreq_server_info(xendevicemodel_handle *dmod, domid_t domid,
                                                ioservid_t id, xen_pfn_t *ioreq_gfn,
                                                xen_pfn_t *bufioreq_gfn,
                                                evtchn_port_t *bufioreq_port)
{
    struct dmop op = {.op = XEN_DMOP_get_ioreq_server_info};
    struct dmop_get_ioreq_server_info *info = &op.u.get_ioreq_server_info;
    info->id = id;
    /* Asking for gfns makes Xen put the pages into the guest's memory map. */
    if (!ioreq_gfn && !bufioreq_gfn)
        info->flags = XEN_DMOP_no_gfns;
    if (dm_op(dmod, domid, &op))
        return -1;
    if (ioreq_gfn)
        *ioreq_gfn = info->ioreq_gfn;
    if (bufioreq_gfn)
        *bufioreq_gfn = info->bufioreq_gfn;
    if (bufioreq_port)
        *bufioreq_port = info->bufioreq_port;
    return 0;
}

static int range_op(xendevicemodel_handle *dmod, domid_t domid, unsigned what, ioservid_t id,
                    uint32_t type, uint64_t start, uint64_t end)
{
    struct dmop op = {.op = what};
    op.u.ioreq_server_range =
        (struct dmop_ioreq_server_range){.id = id, .type = type, .start = start, .end = end};
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_map_io_range_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                       ioservid_t id, int is_mmio, uint64_t start,
                                                       uint64_t end)
{
    return range_op(dmod, domid, XEN_DMOP_map_io_range_to_ioreq_server, id,
                    is_mmio ? XEN_DMOP_IO_RANGE_MEMORY : XEN_DMOP_IO_RANGE_PORT, start, end);
}

EXPORT int xendevicemodel_unmap_io_range_from_ioreq_server(xendevicemodel_handle *dmod,
                                                           domid_t domid, ioservid_t id,
                                                           int is_mmio, uint64_t start,
                                                           uint64_t end)
{
    return range_op(dmod, domid, XEN_DMOP_unmap_io_range_from_ioreq_server, id,
                    is_mmio ? XEN_DMOP_IO_RANGE_MEMORY : XEN_DMOP_IO_RANGE_PORT, start, end);
}

static int pcidev_op(xendevicemodel_handle *dmod, domid_t domid, unsigned what, ioservid_t id,
                     uint16_t segment, uint8_t bus, uint8_t device, uint8_t function)
{
    if (device > 0x1f || function > 7) {
        errno = EINVAL;
        return -1;
    }
    uint32_t sbdf = XEN_DMOP_PCI_SBDF(segment, bus, device, function);
    return range_op(dmod, domid, what, id, XEN_DMOP_IO_RANGE_PCI, sbdf, sbdf);
}

EXPORT int xendevicemodel_map_pcidev_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                     ioservid_t id, uint16_t segment, uint8_t bus,
                                                     uint8_t device, uint8_t function)
{
    return pcidev_op(dmod, domid, XEN_DMOP_map_io_range_to_ioreq_server, id, segment, bus, device,
                     function);
}

EXPORT int xendevicemodel_unmap_pcidev_from_ioreq_server(xendevicemodel_handle *dmod,
                                                         domid_t domid, ioservid_t id,
                                                         uint16_t segment, uint8_t bus,
                                                         uint8_t device, uint8_t function)
{
    return pcidev_op(dmod, domid, XEN_DMOP_unmap_io_range_from_ioreq_server, id, segment, bus,
                     device, function);
}

EXPORT int xendevicemodel_destroy_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                               ioservid_t id)
{
    struct dmop op = {.op = XEN_DMOP_destroy_ioreq_server};
    op.u.destroy_ioreq_server.id = id;
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_set_ioreq_server_state(xendevicemodel_handle *dmod, domid_t domid,
                                                 ioservid_t id, int enabled)
{
    struct dmop op = {.op = XEN_DMOP_set_ioreq_server_state};
    op.u.set_ioreq_server_state.id = id;
    op.u.set_ioreq_server_state.enabled = !!enabled;
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_map_mem_type_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                       ioservid_t id, uint16_t type,
                                                       uint32_t flags)
{
    if (type != HVMMEM_ioreq_server || flags & ~XEN_DMOP_IOREQ_MEM_ACCESS_WRITE) {
        errno = EINVAL;
        return -1;
    }
    struct dmop op = {.op = XEN_DMOP_map_mem_type_to_ioreq_server};
    op.u.map_mem_type_to_ioreq_server.id = id;
    op.u.map_mem_type_to_ioreq_server.type = type;
    op.u.map_mem_type_to_ioreq_server.flags = flags;
    return dm_op(dmod, domid, &op);
}

/* ---- interrupts and events ---- */

EXPORT int xendevicemodel_set_pci_intx_level(xendevicemodel_handle *dmod, domid_t domid,
                                             uint16_t segment, uint8_t bus, uint8_t device,
                                             uint8_t intx, unsigned int level)
{
    struct dmop op = {.op = XEN_DMOP_set_pci_intx_level};
    op.u.set_pci_intx_level =
        (struct dmop_set_pci_intx_level){segment, bus, device, intx, (uint8_t)level};
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_set_isa_irq_level(xendevicemodel_handle *dmod, domid_t domid,
                                            uint8_t irq, unsigned int level)
{
    struct dmop op = {.op = XEN_DMOP_set_isa_irq_level};
    op.u.set_isa_irq_level = (struct dmop_set_isa_irq_level){irq, (uint8_t)level};
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_set_irq_level(xendevicemodel_handle *dmod, domid_t domid,
                                        unsigned int irq, unsigned int level)
{
    struct dmop op = {.op = XEN_DMOP_set_irq_level};
    op.u.set_irq_level.irq = irq;
    op.u.set_irq_level.level = (uint8_t)level;
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_set_pci_link_route(xendevicemodel_handle *dmod, domid_t domid,
                                             uint8_t link, uint8_t irq)
{
    struct dmop op = {.op = XEN_DMOP_set_pci_link_route};
    op.u.set_pci_link_route = (struct dmop_set_pci_link_route){link, irq};
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_inject_msi(xendevicemodel_handle *dmod, domid_t domid, uint64_t msi_addr,
                                     uint32_t msi_data)
{
    struct dmop op = {.op = XEN_DMOP_inject_msi};
    op.u.inject_msi.addr = msi_addr;
    op.u.inject_msi.data = msi_data;
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_inject_event(xendevicemodel_handle *dmod, domid_t domid, int vcpu,
                                       uint8_t vector, uint8_t type, uint32_t error_code,
                                       uint8_t insn_len, uint64_t extra)
{
    struct dmop op = {.op = XEN_DMOP_inject_event};
    struct dmop_inject_event *event = &op.u.inject_event;
    event->vcpuid = (uint32_t)vcpu;
    event->vector = vector;
    event->type = type;
    event->error_code = error_code;
    event->insn_len = insn_len;
    event->cr2 = extra;
    return dm_op(dmod, domid, &op);
}

/* ---- memory ---- */

EXPORT int xendevicemodel_track_dirty_vram(xendevicemodel_handle *dmod, domid_t domid,
                                           uint64_t first_pfn, uint32_t nr,
                                           unsigned long *dirty_bitmap)
{
    struct dmop op = {.op = XEN_DMOP_track_dirty_vram};
    op.u.track_dirty_vram.first_pfn = first_pfn;
    op.u.track_dirty_vram.nr = nr;
    return dm_op2(dmod, domid, &op, dirty_bitmap, ((size_t)nr + 7) / 8, 2);
}

EXPORT int xendevicemodel_modified_memory_bulk(xendevicemodel_handle *dmod, domid_t domid,
                                               struct xen_dm_op_modified_memory_extent *extents,
                                               uint32_t nr)
{
    struct dmop op = {.op = XEN_DMOP_modified_memory};
    op.u.modified_memory.nr_extents = nr;
    return dm_op2(dmod, domid, &op, extents, nr * sizeof *extents, 2);
}

EXPORT int xendevicemodel_modified_memory(xendevicemodel_handle *dmod, domid_t domid,
                                          uint64_t first_pfn, uint32_t nr)
{
    struct xen_dm_op_modified_memory_extent extent = {.nr = nr, .first_pfn = first_pfn};
    return xendevicemodel_modified_memory_bulk(dmod, domid, &extent, 1);
}

EXPORT int xendevicemodel_set_mem_type(xendevicemodel_handle *dmod, domid_t domid,
                                       hvmmem_type_t mem_type, uint64_t first_pfn, uint32_t nr)
{
    struct dmop op = {.op = XEN_DMOP_set_mem_type};
    op.u.set_mem_type.mem_type = (uint16_t)mem_type;
    op.u.set_mem_type.first_pfn = first_pfn;
    op.u.set_mem_type.nr = nr;
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_relocate_memory(xendevicemodel_handle *dmod, domid_t domid,
                                          uint32_t size, uint64_t src_gfn, uint64_t dst_gfn)
{
    struct dmop op = {.op = XEN_DMOP_relocate_memory};
    op.u.relocate_memory.size = size;
    op.u.relocate_memory.src_gfn = src_gfn;
    op.u.relocate_memory.dst_gfn = dst_gfn;
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_pin_memory_cacheattr(xendevicemodel_handle *dmod, domid_t domid,
                                               uint64_t start, uint64_t end, uint32_t type)
{
    struct dmop op = {.op = XEN_DMOP_pin_memory_cacheattr};
    op.u.pin_memory_cacheattr.start = start;
    op.u.pin_memory_cacheattr.end = end;
    op.u.pin_memory_cacheattr.type = type;
    return dm_op(dmod, domid, &op);
}

/* ---- the domain ---- */

EXPORT int xendevicemodel_shutdown(xendevicemodel_handle *dmod, domid_t domid, unsigned int reason)
{
    struct dmop op = {.op = XEN_DMOP_remote_shutdown};
    op.u.remote_shutdown.reason = reason;
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_nr_vcpus(xendevicemodel_handle *dmod, domid_t domid, unsigned int *vcpus)
{
    struct dmop op = {.op = XEN_DMOP_nr_vcpus};
    if (dm_op(dmod, domid, &op))
        return -1;
    *vcpus = op.u.nr_vcpus.vcpus;
    return 0;
}
