/* SPDX-License-Identifier: MIT */
/* HYPERVISOR_dm_op. Source: Xen common/ioreq.c, arch/x86/hvm/dm.c, arch/arm/dm.c. */
#include "internal.h"

#include <errno.h>
#include <string.h>

/* Smallest buffer for each operation of an architecture; 0 where it is not listed there. */
#define SIZE(op, member) [XEN_DMOP_##op] = sizeof(((struct dmop *)0)->u.member)
#define COMMON_SIZES                                                                               \
    SIZE(create_ioreq_server, create_ioreq_server),                                                \
    SIZE(get_ioreq_server_info, get_ioreq_server_info),                                            \
    SIZE(map_io_range_to_ioreq_server, ioreq_server_range),                                        \
    SIZE(unmap_io_range_from_ioreq_server, ioreq_server_range),                                    \
    SIZE(set_ioreq_server_state, set_ioreq_server_state),                                          \
    SIZE(destroy_ioreq_server, destroy_ioreq_server),                                              \
    SIZE(nr_vcpus, nr_vcpus)

static const uint8_t x86_size[] = {
    COMMON_SIZES,
    SIZE(track_dirty_vram, track_dirty_vram),
    SIZE(set_pci_intx_level, set_pci_intx_level),
    SIZE(set_isa_irq_level, set_isa_irq_level),
    SIZE(set_pci_link_route, set_pci_link_route),
    SIZE(modified_memory, modified_memory),
    SIZE(set_mem_type, set_mem_type),
    SIZE(inject_event, inject_event),
    SIZE(inject_msi, inject_msi),
    SIZE(map_mem_type_to_ioreq_server, map_mem_type_to_ioreq_server),
    SIZE(remote_shutdown, remote_shutdown),
    SIZE(relocate_memory, relocate_memory),
    SIZE(pin_memory_cacheattr, pin_memory_cacheattr),
};
static const uint8_t arm_size[] = {COMMON_SIZES, SIZE(set_irq_level, set_irq_level)};

#define NR_OPS (XEN_DMOP_nr_vcpus + 1)
static_assert(sizeof x86_size == NR_OPS && sizeof arm_size == NR_OPS, "every op has an entry");

/* The proposal's, the same on both. */
static const uint8_t mmcfg_size[] = {
    sizeof(struct dmop_map_mmcfg), sizeof(struct dmop_unmap_mmcfg),
    sizeof(struct dmop_set_ioreq_server_mmcfg),
};

static bool op_size(const struct xensim *x, uint32_t op, size_t *size)
{
    uint32_t proposed = op - XEN_DMOP_map_mmcfg_to_ioreq_server;
    if (proposed < sizeof mmcfg_size)
        *size = mmcfg_size[proposed];
    else if (op < NR_OPS)
        *size = x->arch == XENSIM_ARM ? arm_size[op] : x86_size[op];
    else
        return false;
    return true;
}

/* ioreq_server_dm_op() */
static int common_op(struct xensim *x, struct dmop *op)
{
    switch (op->op) {
    case XEN_DMOP_create_ioreq_server: {
        struct dmop_create_ioreq_server *p = &op->u.create_ioreq_server;
        if (p->pad[0] || p->pad[1] || p->pad[2])
            return EINVAL;
        return server_create(x, p->handle_bufioreq, &p->id);
    }
    case XEN_DMOP_get_ioreq_server_info: {
        struct dmop_get_ioreq_server_info *p = &op->u.get_ioreq_server_info;
        return p->flags & ~XEN_DMOP_no_gfns ? EINVAL : server_get_info(x, p);
    }
    case XEN_DMOP_map_io_range_to_ioreq_server:
    case XEN_DMOP_unmap_io_range_from_ioreq_server: {
        const struct dmop_ioreq_server_range *p = &op->u.ioreq_server_range;
        if (p->pad)
            return EINVAL;
        return server_map_range(x, p, op->op == XEN_DMOP_map_io_range_to_ioreq_server);
    }
    case XEN_DMOP_set_ioreq_server_state: {
        const struct dmop_set_ioreq_server_state *p = &op->u.set_ioreq_server_state;
        return p->pad ? EINVAL : server_set_state(x, p->id, p->enabled);
    }
    case XEN_DMOP_destroy_ioreq_server: {
        const struct dmop_destroy_ioreq_server *p = &op->u.destroy_ioreq_server;
        return p->pad ? EINVAL : server_destroy(x, p->id);
    }
    case XEN_DMOP_nr_vcpus:
        op->u.nr_vcpus.vcpus = x->vcpus;
        return 0;
    case XEN_DMOP_map_mmcfg_to_ioreq_server:
        return mmcfg_map(x, &op->u.map_mmcfg);
    case XEN_DMOP_unmap_mmcfg_from_ioreq_server:
        return mmcfg_unmap(x, &op->u.unmap_mmcfg);
    case XEN_DMOP_set_ioreq_server_mmcfg:
        return mmcfg_set_form(x, &op->u.set_ioreq_server_mmcfg);
    default:
        return EOPNOTSUPP;
    }
}

static int inject_event(struct xensim *x, const struct dmop_inject_event *p)
{
    if (p->pad0 || p->pad1 || p->vcpuid >= x->vcpus)
        return EINVAL;
    struct vcpu *v = &x->vcpu[p->vcpuid];
    pthread_mutex_lock(&v->lock);
    bool busy = v->event_pending;
    if (!busy)
        v->event = (struct xensim_event){p->vector, p->type, p->insn_len, p->error_code, p->cr2};
    v->event_pending = true;
    pthread_mutex_unlock(&v->lock);
    if (!busy)
        irq_changed(x);
    return busy ? EBUSY : 0;
}

/* Guest writes to RAM are not tracked, so every page may have changed. */
static int track_dirty_vram(const struct dmop_track_dirty_vram *p, void *bitmap, size_t size)
{
    size_t bytes = ((size_t)p->nr + 7) / 8;
    if (p->pad || !bitmap || p->nr > (1u << 30) / XEN_PAGE_SIZE || bytes > size)
        return EINVAL;
    memset(bitmap, 0xff, bytes);
    return 0;
}

/* Extents are worked off from the last to the first. */
static int modified_memory(struct xensim *x, const struct dmop_modified_memory *p, const void *buf,
                           size_t size)
{
    const struct xen_dm_op_modified_memory_extent *extent = buf;
    if (!buf || size / sizeof *extent < p->nr_extents)
        return EINVAL;
    int error = 0;
    for (uint32_t i = p->nr_extents; i-- > 0 && !error;)
        error = memory_modified(x, &extent[i]);
    return error;
}

static int x86_op(struct xensim *x, struct dmop *op, void *buf1, size_t size1)
{
    switch (op->op) {
    case XEN_DMOP_track_dirty_vram:
        return track_dirty_vram(&op->u.track_dirty_vram, buf1, size1);
    case XEN_DMOP_set_pci_intx_level:
        atomic_fetch_add(&x->count.intx_ops, 1);
        return irq_set_intx(x, &op->u.set_pci_intx_level);
    case XEN_DMOP_set_isa_irq_level:
        return irq_set_isa(x, &op->u.set_isa_irq_level);
    case XEN_DMOP_set_pci_link_route:
        return irq_set_link_route(x, &op->u.set_pci_link_route);
    case XEN_DMOP_modified_memory:
        return modified_memory(x, &op->u.modified_memory, buf1, size1);
    case XEN_DMOP_set_mem_type: {
        const struct dmop_set_mem_type *p = &op->u.set_mem_type;
        return p->pad ? EINVAL : memory_set_type(x, p->mem_type, p->first_pfn, p->nr);
    }
    case XEN_DMOP_inject_event:
        return inject_event(x, &op->u.inject_event);
    case XEN_DMOP_inject_msi:
        atomic_fetch_add(&x->count.msi_ops, 1);
        return op->u.inject_msi.pad ? EINVAL
                                    : irq_inject_msi(x, op->u.inject_msi.addr, op->u.inject_msi.data);
    case XEN_DMOP_map_mem_type_to_ioreq_server:
        return server_map_mem_type(x, &op->u.map_mem_type_to_ioreq_server);
    case XEN_DMOP_remote_shutdown:
        domain_shutdown(x, op->u.remote_shutdown.reason);
        return 0;
    case XEN_DMOP_relocate_memory: {
        const struct dmop_relocate_memory *p = &op->u.relocate_memory;
        return p->pad ? EINVAL : memory_relocate(x, p->src_gfn, p->dst_gfn, p->size);
    }
    case XEN_DMOP_pin_memory_cacheattr: {
        const struct dmop_pin_memory_cacheattr *p = &op->u.pin_memory_cacheattr;
        return p->pad ? EINVAL : memory_pin_cacheattr(x, p->start, p->end, p->type);
    }
    default:
        return common_op(x, op);
    }
}

static int do_dm_op(struct xensim *x, uint32_t domid, void *buf0, size_t size0, void *buf1,
                    size_t size1)
{
    const size_t head = offsetof(struct dmop, u);
    struct dmop op;
    memset(&op, 0, sizeof op);
    if (domid == 0 || domid == DOMID_SELF)
        return EPERM; /* rcu_lock_remote_domain_by_id() refuses the caller's own domain */
    if (domid != XENSIM_DOMID || !domain_exists(x))
        return ESRCH;
    if (size0 < head)
        return EFAULT;
    memcpy(&op, buf0, head);
    size_t size;
    if (!op_size(x, op.op, &size))
        return EOPNOTSUPP;
    if (size0 < head + size)
        return EFAULT;
    memcpy(&op.u, (uint8_t *)buf0 + head, size);
    if (op.pad)
        return EINVAL;

    int error = x->arch == XENSIM_X86                ? x86_op(x, &op, buf1, size1)
                : op.op == XEN_DMOP_set_irq_level ? irq_set_spi(x, &op.u.set_irq_level)
                                                    : common_op(x, &op);
    if (!error)
        memcpy((uint8_t *)buf0 + head, &op.u, size);
    return error;
}

int dm_op(struct xensim *x, uint32_t domid, void *buf0, size_t size0, void *buf1, size_t size1)
{
    int error = do_dm_op(x, domid, buf0, size0, buf1, size1);
    atomic_fetch_add(&x->count.dm_ops, 1);
    if (error)
        atomic_fetch_add(&x->count.dm_op_errors, 1);
    return error;
}
