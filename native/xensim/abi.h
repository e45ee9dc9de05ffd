/* SPDX-License-Identifier: MIT */
/*
 * The parts of Xen's public ABI that both sides of xensim speak: layouts and numbers, so that
 * nothing here needs libxen-dev. Sources: Xen public/hvm/ioreq.h, public/hvm/dm_op.h,
 * public/memory.h, public/event_channel.h (identical in 4.15 to 4.22).
 */
#ifndef XENSIM_ABI_H
#define XENSIM_ABI_H

#include <assert.h>
#include <stdint.h>

typedef uint16_t domid_t;
typedef uint16_t ioservid_t;
typedef uint32_t evtchn_port_t;
typedef unsigned long xen_pfn_t;
typedef unsigned int hvmmem_type_t;

#define DOMID_FIRST_RESERVED 0x7ff0
#define DOMID_SELF 0x7ff0
#define DOMID_INVALID 0x7ff4

#define XEN_PAGE_SHIFT 12
#define XEN_PAGE_SIZE 4096u

/* ---- ioreq pages (public/hvm/ioreq.h) ---- */

#define IOREQ_READ 1
#define IOREQ_WRITE 0

enum { STATE_IOREQ_NONE, STATE_IOREQ_READY, STATE_IOREQ_INPROCESS, STATE_IORESP_READY };

enum {
    IOREQ_TYPE_PIO = 0,
    IOREQ_TYPE_COPY = 1,
    IOREQ_TYPE_PCI_CONFIG = 2,
    IOREQ_TYPE_TIMEOFFSET = 7,
    IOREQ_TYPE_INVALIDATE = 8,
};

/* The bit fields of byte 30 are spelled out: that byte is written atomically, flags and all. */
struct xen_ioreq {
    uint64_t addr;
    uint64_t data;
    uint32_t count;
    uint32_t size;
    uint32_t vp_eport;
    uint16_t pad0;
    uint8_t state_flags;
    uint8_t type;
};
static_assert(sizeof(struct xen_ioreq) == 32, "ioreq_t is 32 bytes");

#define IOREQ_STATE_MASK 0x0f
#define IOREQ_DATA_IS_PTR 0x10
#define IOREQ_DIR_READ 0x20
#define IOREQ_DF 0x40

#define IOREQ_BUFFER_SLOT_NUM 511u

struct xen_buf_ioreq {
    uint32_t head; /* type 7:0, dir 9, size code 11:10, addr 31:12 */
    uint32_t data;
};

struct xen_buffered_iopage {
    union {
        struct {
            uint32_t read_pointer;
            uint32_t write_pointer;
        };
        uint64_t pointers;
    };
    struct xen_buf_ioreq slot[IOREQ_BUFFER_SLOT_NUM];
};
static_assert(sizeof(struct xen_buffered_iopage) == 4096, "the ring fills its page");

enum { HVM_IOREQSRV_BUFIOREQ_OFF, HVM_IOREQSRV_BUFIOREQ_LEGACY, HVM_IOREQSRV_BUFIOREQ_ATOMIC };

/* ---- dm ops (public/hvm/dm_op.h) ---- */

enum {
    XEN_DMOP_create_ioreq_server = 1,
    XEN_DMOP_get_ioreq_server_info = 2,
    XEN_DMOP_map_io_range_to_ioreq_server = 3,
    XEN_DMOP_unmap_io_range_from_ioreq_server = 4,
    XEN_DMOP_set_ioreq_server_state = 5,
    XEN_DMOP_destroy_ioreq_server = 6,
    XEN_DMOP_track_dirty_vram = 7,
    XEN_DMOP_set_pci_intx_level = 8,
    XEN_DMOP_set_isa_irq_level = 9,
    XEN_DMOP_set_pci_link_route = 10,
    XEN_DMOP_modified_memory = 11,
    XEN_DMOP_set_mem_type = 12,
    XEN_DMOP_inject_event = 13,
    XEN_DMOP_inject_msi = 14,
    XEN_DMOP_map_mem_type_to_ioreq_server = 15,
    XEN_DMOP_remote_shutdown = 16,
    XEN_DMOP_relocate_memory = 17,
    XEN_DMOP_pin_memory_cacheattr = 18,
    XEN_DMOP_set_irq_level = 19,
    XEN_DMOP_nr_vcpus = 20,

    /* A proposal that Xen never took: see host/mmcfg.c. Far above Xen's own numbers, which grow. */
    XEN_DMOP_map_mmcfg_to_ioreq_server = 0x80,
    XEN_DMOP_unmap_mmcfg_from_ioreq_server = 0x81,
    XEN_DMOP_set_ioreq_server_mmcfg = 0x82,
};

enum { XEN_DMOP_IO_RANGE_PORT, XEN_DMOP_IO_RANGE_MEMORY, XEN_DMOP_IO_RANGE_PCI, NR_IO_RANGE_TYPES };

#define XEN_DMOP_no_gfns 1u
#define XEN_DMOP_IOREQ_MEM_ACCESS_WRITE 2u

enum { HVMMEM_ram_rw, HVMMEM_ram_ro, HVMMEM_mmio_dm, HVMMEM_unused, HVMMEM_ioreq_server };

#define XEN_DMOP_mmcfg_native 1u /* as IOREQ_TYPE_COPY; else translated: IOREQ_TYPE_PCI_CONFIG */

#define XEN_DMOP_DELETE_MEM_CACHEATTR 0xffffffffu

struct dmop_create_ioreq_server {
    uint8_t handle_bufioreq;
    uint8_t pad[3];
    ioservid_t id;
};
struct dmop_get_ioreq_server_info {
    ioservid_t id;
    uint16_t flags;
    evtchn_port_t bufioreq_port;
    uint64_t ioreq_gfn;
    uint64_t bufioreq_gfn;
};
struct dmop_ioreq_server_range {
    ioservid_t id;
    uint16_t pad;
    uint32_t type;
    uint64_t start, end;
};
struct dmop_set_ioreq_server_state {
    ioservid_t id;
    uint8_t enabled;
    uint8_t pad;
};
struct dmop_destroy_ioreq_server {
    ioservid_t id;
    uint16_t pad;
};
struct dmop_track_dirty_vram {
    uint32_t nr;
    uint32_t pad;
    uint64_t first_pfn;
};
struct dmop_set_pci_intx_level {
    uint16_t domain;
    uint8_t bus, device, intx, level;
};
struct dmop_set_isa_irq_level {
    uint8_t isa_irq;
    uint8_t level;
};
struct dmop_set_pci_link_route {
    uint8_t link;
    uint8_t isa_irq;
};
struct dmop_modified_memory {
    uint32_t nr_extents;
    uint32_t opaque;
};
struct xen_dm_op_modified_memory_extent {
    uint32_t nr;
    uint32_t pad;
    uint64_t first_pfn;
};
struct dmop_set_mem_type {
    uint32_t nr;
    uint16_t mem_type;
    uint16_t pad;
    uint64_t first_pfn;
};
struct dmop_inject_event {
    uint32_t vcpuid;
    uint8_t vector, type, insn_len, pad0;
    uint32_t error_code;
    uint32_t pad1;
    uint64_t cr2;
};
struct dmop_inject_msi {
    uint32_t data;
    uint32_t pad;
    uint64_t addr;
};
struct dmop_map_mem_type_to_ioreq_server {
    ioservid_t id;
    uint16_t type;
    uint32_t flags;
    uint64_t opaque;
};
struct dmop_remote_shutdown {
    uint32_t reason;
};
struct dmop_relocate_memory {
    uint32_t size;
    uint32_t pad;
    uint64_t src_gfn;
    uint64_t dst_gfn;
};
struct dmop_pin_memory_cacheattr {
    uint64_t start, end;
    uint32_t type;
    uint32_t pad;
};
struct dmop_set_irq_level {
    uint32_t irq;
    uint8_t level;
    uint8_t pad[3];
};
struct dmop_nr_vcpus {
    uint32_t vcpus;
};
struct dmop_map_mmcfg {
    ioservid_t id;
    uint16_t segment;
    uint8_t start_bus, end_bus; /* both inside */
    uint16_t pad;
    uint32_t flags;
    uint32_t pad2;
    uint64_t base; /* where start_bus is */
};
struct dmop_unmap_mmcfg {
    ioservid_t id;
    uint16_t segment;
};
struct dmop_set_ioreq_server_mmcfg {
    ioservid_t id;
    uint16_t pad;
    uint32_t flags;
};

struct dmop {
    uint32_t op;
    uint32_t pad;
    union {
        struct dmop_create_ioreq_server create_ioreq_server;
        struct dmop_get_ioreq_server_info get_ioreq_server_info;
        struct dmop_ioreq_server_range ioreq_server_range;
        struct dmop_set_ioreq_server_state set_ioreq_server_state;
        struct dmop_destroy_ioreq_server destroy_ioreq_server;
        struct dmop_track_dirty_vram track_dirty_vram;
        struct dmop_set_pci_intx_level set_pci_intx_level;
        struct dmop_set_isa_irq_level set_isa_irq_level;
        struct dmop_set_pci_link_route set_pci_link_route;
        struct dmop_modified_memory modified_memory;
        struct dmop_set_mem_type set_mem_type;
        struct dmop_inject_event inject_event;
        struct dmop_inject_msi inject_msi;
        struct dmop_map_mem_type_to_ioreq_server map_mem_type_to_ioreq_server;
        struct dmop_remote_shutdown remote_shutdown;
        struct dmop_relocate_memory relocate_memory;
        struct dmop_pin_memory_cacheattr pin_memory_cacheattr;
        struct dmop_set_irq_level set_irq_level;
        struct dmop_nr_vcpus nr_vcpus;
        struct dmop_map_mmcfg map_mmcfg;
        struct dmop_unmap_mmcfg unmap_mmcfg;
        struct dmop_set_ioreq_server_mmcfg set_ioreq_server_mmcfg;
    } u;
};
static_assert(sizeof(struct dmop) == 32, "struct xen_dm_op is 32 bytes");

#define XEN_DMOP_PCI_SBDF(s, b, d, f) \
    ((((uint32_t)(s) & 0xffff) << 16) | (((uint32_t)(b) & 0xff) << 8) |                             \
     (((uint32_t)(d) & 0x1f) << 3) | ((f) & 7))

/* ---- resources (public/memory.h) ---- */

#define XENMEM_resource_ioreq_server 0
#define XENMEM_resource_ioreq_server_frame_bufioreq 0
#define XENMEM_resource_ioreq_server_frame_ioreq(n) (1 + (n))

/* ---- limits (xen/sched.h, asm-x86/hvm/domain.h) ---- */

#define HVM_MAX_VCPUS 128
#define MAX_NR_IOREQ_SERVERS 8
#define MAX_NR_IO_RANGES 256

#endif
