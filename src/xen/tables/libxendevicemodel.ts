// SPDX-License-Identifier: MIT
/**
 * Every function of the library. All but `open` return 0, or -1 with errno.
 * Source: xendevicemodel.h, the same from Xen 4.15 to 4.22.
 */

import { libraryTable } from "../ffi/table.js";

export const libxendevicemodel = libraryTable({
  soname: "libxendevicemodel.so.1",
  debian: "libxendevicemodel1",
  functions: {
    xendevicemodel_open: { returns: "pointer", takes: ["pointer", "u32"] },
    xendevicemodel_close: { returns: "int", takes: ["pointer"] },
    xendevicemodel_create_ioreq_server: { returns: "int", takes: ["pointer", "u16", "int", "buffer"] },
    xendevicemodel_get_ioreq_server_info: {
      returns: "int",
      takes: ["pointer", "u16", "u16", "buffer", "buffer", "buffer"],
    },
    xendevicemodel_map_io_range_to_ioreq_server: {
      returns: "int",
      takes: ["pointer", "u16", "u16", "int", "u64", "u64"],
    },
    xendevicemodel_unmap_io_range_from_ioreq_server: {
      returns: "int",
      takes: ["pointer", "u16", "u16", "int", "u64", "u64"],
    },
    xendevicemodel_map_mem_type_to_ioreq_server: { returns: "int", takes: ["pointer", "u16", "u16", "u16", "u32"] },
    xendevicemodel_map_pcidev_to_ioreq_server: {
      returns: "int",
      takes: ["pointer", "u16", "u16", "u16", "u8", "u8", "u8"],
    },
    xendevicemodel_unmap_pcidev_from_ioreq_server: {
      returns: "int",
      takes: ["pointer", "u16", "u16", "u16", "u8", "u8", "u8"],
    },
    xendevicemodel_destroy_ioreq_server: { returns: "int", takes: ["pointer", "u16", "u16"] },
    xendevicemodel_set_ioreq_server_state: { returns: "int", takes: ["pointer", "u16", "u16", "int"] },
    xendevicemodel_set_pci_intx_level: { returns: "int", takes: ["pointer", "u16", "u16", "u8", "u8", "u8", "u32"] },
    xendevicemodel_set_isa_irq_level: { returns: "int", takes: ["pointer", "u16", "u8", "u32"] },
    xendevicemodel_set_irq_level: { returns: "int", takes: ["pointer", "u16", "u32", "u32"], optional: true },
    xendevicemodel_set_pci_link_route: { returns: "int", takes: ["pointer", "u16", "u8", "u8"] },
    xendevicemodel_inject_msi: { returns: "int", takes: ["pointer", "u16", "u64", "u32"] },
    xendevicemodel_track_dirty_vram: { returns: "int", takes: ["pointer", "u16", "u64", "u32", "buffer"] },
    xendevicemodel_modified_memory: { returns: "int", takes: ["pointer", "u16", "u64", "u32"] },
    xendevicemodel_modified_memory_bulk: { returns: "int", takes: ["pointer", "u16", "buffer", "u32"] },
    xendevicemodel_set_mem_type: { returns: "int", takes: ["pointer", "u16", "u32", "u64", "u32"] },
    xendevicemodel_inject_event: { returns: "int", takes: ["pointer", "u16", "int", "u8", "u8", "u32", "u8", "u64"] },
    xendevicemodel_shutdown: { returns: "int", takes: ["pointer", "u16", "u32"] },
    xendevicemodel_relocate_memory: { returns: "int", takes: ["pointer", "u16", "u32", "u64", "u64"] },
    xendevicemodel_pin_memory_cacheattr: { returns: "int", takes: ["pointer", "u16", "u64", "u64", "u32"] },
    xendevicemodel_nr_vcpus: { returns: "int", takes: ["pointer", "u16", "buffer"] },
    xendevicemodel_restrict: { returns: "int", takes: ["pointer", "u16"] },
  },
});

/**
 * What was proposed for Xen and never taken: Xen knows where the MMCONFIG window is. Only xensim's library has it.
 * Source: native/xensim/host/mmcfg.c.
 */
export const libxendevicemodelMmcfg = libraryTable({
  soname: libxendevicemodel.soname,
  debian: libxendevicemodel.debian,
  functions: {
    xendevicemodel_map_mmcfg_to_ioreq_server: {
      returns: "int",
      takes: ["pointer", "u16", "u16", "u16", "u64", "u8", "u8", "u32"],
      optional: true,
    },
    xendevicemodel_unmap_mmcfg_from_ioreq_server: {
      returns: "int",
      takes: ["pointer", "u16", "u16", "u16"],
      optional: true,
    },
    xendevicemodel_set_ioreq_server_mmcfg: { returns: "int", takes: ["pointer", "u16", "u16", "u32"], optional: true },
  },
});
