/* SPDX-License-Identifier: MIT */
/* What no real libxendevicemodel has: telling Xen of MMCONFIG windows. What it means: host/mmcfg.c. */
#include "client.h"
#include "devicemodel.h"

EXPORT int xendevicemodel_map_mmcfg_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                    ioservid_t id, uint16_t segment, uint64_t base,
                                                    uint8_t start_bus, uint8_t end_bus,
                                                    uint32_t flags)
{
    struct dmop op = {.op = XEN_DMOP_map_mmcfg_to_ioreq_server};
    op.u.map_mmcfg = (struct dmop_map_mmcfg){
        .id = id, .segment = segment, .base = base, .start_bus = start_bus, .end_bus = end_bus,
        .flags = flags,
    };
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_unmap_mmcfg_from_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                        ioservid_t id, uint16_t segment)
{
    struct dmop op = {.op = XEN_DMOP_unmap_mmcfg_from_ioreq_server};
    op.u.unmap_mmcfg = (struct dmop_unmap_mmcfg){.id = id, .segment = segment};
    return dm_op(dmod, domid, &op);
}

EXPORT int xendevicemodel_set_ioreq_server_mmcfg(xendevicemodel_handle *dmod, domid_t domid,
                                                 ioservid_t id, uint32_t flags)
{
    struct dmop op = {.op = XEN_DMOP_set_ioreq_server_mmcfg};
    op.u.set_ioreq_server_mmcfg = (struct dmop_set_ioreq_server_mmcfg){.id = id, .flags = flags};
    return dm_op(dmod, domid, &op);
}
