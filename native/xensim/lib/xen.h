/* SPDX-License-Identifier: MIT */
/* Prototypes of the client libraries, as libxen-dev's headers declare them. */
#ifndef XENSIM_LIB_XEN_H
#define XENSIM_LIB_XEN_H

#include "../abi.h"

#include <stddef.h>

struct xentoollog_logger;

/* libxendevicemodel */
typedef struct xendevicemodel_handle xendevicemodel_handle;
xendevicemodel_handle *xendevicemodel_open(struct xentoollog_logger *, unsigned open_flags);
int xendevicemodel_close(xendevicemodel_handle *);
int xendevicemodel_create_ioreq_server(xendevicemodel_handle *, domid_t, int handle_bufioreq,
                                       ioservid_t *id);
int xendevicemodel_get_ioreq_server_info(xendevicemodel_handle *, domid_t, ioservid_t,
                                         xen_pfn_t *ioreq_gfn, xen_pfn_t *bufioreq_gfn,
                                         evtchn_port_t *bufioreq_port);
int xendevicemodel_map_io_range_to_ioreq_server(xendevicemodel_handle *, domid_t, ioservid_t,
                                                int is_mmio, uint64_t start, uint64_t end);
int xendevicemodel_unmap_io_range_from_ioreq_server(xendevicemodel_handle *, domid_t, ioservid_t,
                                                    int is_mmio, uint64_t start, uint64_t end);
int xendevicemodel_map_mem_type_to_ioreq_server(xendevicemodel_handle *, domid_t, ioservid_t,
                                                uint16_t type, uint32_t flags);
int xendevicemodel_map_pcidev_to_ioreq_server(xendevicemodel_handle *, domid_t, ioservid_t,
                                              uint16_t segment, uint8_t bus, uint8_t device,
                                              uint8_t function);
int xendevicemodel_unmap_pcidev_from_ioreq_server(xendevicemodel_handle *, domid_t, ioservid_t,
                                                  uint16_t segment, uint8_t bus, uint8_t device,
                                                  uint8_t function);
int xendevicemodel_destroy_ioreq_server(xendevicemodel_handle *, domid_t, ioservid_t);
int xendevicemodel_set_ioreq_server_state(xendevicemodel_handle *, domid_t, ioservid_t, int enabled);
int xendevicemodel_set_pci_intx_level(xendevicemodel_handle *, domid_t, uint16_t segment,
                                      uint8_t bus, uint8_t device, uint8_t intx, unsigned level);
int xendevicemodel_set_isa_irq_level(xendevicemodel_handle *, domid_t, uint8_t irq, unsigned level);
int xendevicemodel_set_irq_level(xendevicemodel_handle *, domid_t, unsigned irq, unsigned level);
int xendevicemodel_set_pci_link_route(xendevicemodel_handle *, domid_t, uint8_t link, uint8_t irq);
int xendevicemodel_inject_msi(xendevicemodel_handle *, domid_t, uint64_t addr, uint32_t data);
int xendevicemodel_track_dirty_vram(xendevicemodel_handle *, domid_t, uint64_t first_pfn,
                                    uint32_t nr, unsigned long *bitmap);
int xendevicemodel_modified_memory_bulk(xendevicemodel_handle *, domid_t,
                                        struct xen_dm_op_modified_memory_extent *, uint32_t nr);
int xendevicemodel_modified_memory(xendevicemodel_handle *, domid_t, uint64_t first_pfn, uint32_t nr);
int xendevicemodel_set_mem_type(xendevicemodel_handle *, domid_t, hvmmem_type_t, uint64_t first_pfn,
                                uint32_t nr);
int xendevicemodel_inject_event(xendevicemodel_handle *, domid_t, int vcpu, uint8_t vector,
                                uint8_t type, uint32_t error_code, uint8_t insn_len, uint64_t extra);
int xendevicemodel_shutdown(xendevicemodel_handle *, domid_t, unsigned reason);
int xendevicemodel_relocate_memory(xendevicemodel_handle *, domid_t, uint32_t size,
                                   uint64_t src_gfn, uint64_t dst_gfn);
int xendevicemodel_pin_memory_cacheattr(xendevicemodel_handle *, domid_t, uint64_t start,
                                        uint64_t end, uint32_t type);
int xendevicemodel_nr_vcpus(xendevicemodel_handle *, domid_t, unsigned *vcpus);
int xendevicemodel_restrict(xendevicemodel_handle *, domid_t);
/* Only here: see mmcfg.c. */
int xendevicemodel_map_mmcfg_to_ioreq_server(xendevicemodel_handle *, domid_t, ioservid_t,
                                             uint16_t segment, uint64_t base, uint8_t start_bus,
                                             uint8_t end_bus, uint32_t flags);
int xendevicemodel_unmap_mmcfg_from_ioreq_server(xendevicemodel_handle *, domid_t, ioservid_t,
                                                 uint16_t segment);
int xendevicemodel_set_ioreq_server_mmcfg(xendevicemodel_handle *, domid_t, ioservid_t,
                                          uint32_t flags);

/* libxenforeignmemory */
typedef struct xenforeignmemory_handle xenforeignmemory_handle;
typedef struct xenforeignmemory_resource_handle xenforeignmemory_resource_handle;
xenforeignmemory_handle *xenforeignmemory_open(struct xentoollog_logger *, unsigned open_flags);
int xenforeignmemory_close(xenforeignmemory_handle *);
void *xenforeignmemory_map(xenforeignmemory_handle *, uint32_t dom, int prot, size_t pages,
                           const xen_pfn_t arr[], int err[]);
void *xenforeignmemory_map2(xenforeignmemory_handle *, uint32_t dom, void *addr, int prot,
                            int flags, size_t pages, const xen_pfn_t arr[], int err[]);
int xenforeignmemory_unmap(xenforeignmemory_handle *, void *addr, size_t pages);
int xenforeignmemory_restrict(xenforeignmemory_handle *, domid_t);
xenforeignmemory_resource_handle *
xenforeignmemory_map_resource(xenforeignmemory_handle *, domid_t, unsigned type, unsigned id,
                              unsigned long frame, unsigned long nr_frames, void **addr, int prot,
                              int flags);
int xenforeignmemory_unmap_resource(xenforeignmemory_handle *, xenforeignmemory_resource_handle *);
int xenforeignmemory_resource_size(xenforeignmemory_handle *, domid_t, unsigned type, unsigned id,
                                   size_t *size);

/* libxenevtchn */
typedef struct xenevtchn_handle xenevtchn_handle;
typedef int xenevtchn_port_or_error_t;
#define XENEVTCHN_NO_CLOEXEC 1u
xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *, unsigned flags);
xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *, int fd, unsigned flags);
int xenevtchn_close(xenevtchn_handle *);
int xenevtchn_fd(xenevtchn_handle *);
int xenevtchn_notify(xenevtchn_handle *, evtchn_port_t);
xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *, uint32_t domid);
xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *, uint32_t domid,
                                                     evtchn_port_t remote);
xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *, unsigned virq);
int xenevtchn_unbind(xenevtchn_handle *, evtchn_port_t);
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *);
int xenevtchn_unmask(xenevtchn_handle *, evtchn_port_t);
int xenevtchn_restrict(xenevtchn_handle *, domid_t);

/* libxentoolcore */
int xentoolcore_restrict_all(domid_t);

#endif
