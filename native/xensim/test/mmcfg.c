/* SPDX-License-Identifier: MIT */
/* MMCONFIG windows: where they may be, who gets an access, and as what. */
#include "test.h"

#define WINDOW UINT64_C(0xe0000000)
#define MIB (UINT64_C(1) << 20)
#define AT(bus, device, function, offset) \
    (((uint64_t)(bus) << 20) + ((device) << 15) + ((function) << 12) + (offset))

static struct dm dm, other;
static struct access a;

static int map(struct dm *by, unsigned segment, uint64_t base, unsigned start_bus, unsigned end_bus,
               uint32_t flags)
{
    return xendevicemodel_map_mmcfg_to_ioreq_server(by->model, 1, by->id, (uint16_t)segment, base,
                                                    (uint8_t)start_bus, (uint8_t)end_bus, flags);
}

static int unmap(struct dm *by, unsigned segment)
{
    return xendevicemodel_unmap_mmcfg_from_ioreq_server(by->model, 1, by->id, (uint16_t)segment);
}

static void claim(struct dm *by, unsigned segment, unsigned bus, unsigned device, unsigned function)
{
    EQUAL(xendevicemodel_map_pcidev_to_ioreq_server(by->model, 1, by->id, (uint16_t)segment, (uint8_t)bus,
                                                    (uint8_t)device, (uint8_t)function), 0);
}

/* The access that runs now asks for this, and is answered. */
static struct xen_ioreq asks(struct dm *of, unsigned type, uint64_t addr, unsigned size)
{
    struct xen_ioreq p = dm_request(of, 0);
    EQUAL(p.type, type);
    EQUAL(p.addr, addr);
    EQUAL(p.size, size);
    EQUAL(p.count, 1);
    dm_answer(of, 0, UINT64_C(0xf1e2d3c4b5a69788));
    return p;
}

static void read_goes(uint64_t addr, unsigned width, struct dm *to, unsigned type, uint64_t as)
{
    start_read(&a, 0, XENSIM_MMIO, addr, width);
    asks(to, type, as, width);
    EQUAL(finish(&a), XENSIM_HANDLED);
}

static void reads_ones(uint64_t addr, unsigned width)
{
    uint64_t data = 0;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, addr, width, &data), XENSIM_UNHANDLED);
    EQUAL(data, width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * width) - 1);
}

static void accesses_become_configuration_requests(void)
{
    static const unsigned offsets[] = {0, 0x44, 0xfc, 0x100, 0xff8};
    dm_start(&dm, 0);
    EQUAL(map(&dm, 0, WINDOW, 0, 255, 0), 0);
    claim(&dm, 0, 0x12, 3, 5);
    uint64_t sbdf = 0x121d;
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned width = 1; width <= 8; width *= 2) {
            start_read(&a, 0, XENSIM_MMIO, WINDOW + AT(0x12, 3, 5, offsets[i]), width);
            EQUAL(asks(&dm, IOREQ_TYPE_PCI_CONFIG, sbdf << 32 | offsets[i], width).data, 0);
            EQUAL(finish(&a), XENSIM_HANDLED);
            EQUAL(a.data, UINT64_C(0xf1e2d3c4b5a69788) & (UINT64_MAX >> (64 - 8 * width)));
        }
    }
    start_write(&a, 0, XENSIM_MMIO, WINDOW + AT(0x12, 3, 5, 0xfff), 1, 0x1234);
    struct xen_ioreq p = asks(&dm, IOREQ_TYPE_PCI_CONFIG, sbdf << 32 | 0xfff, 1);
    EQUAL(p.data, 0x34);
    EQUAL(p.state_flags & 0xf0, 0);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(counters().pci_config, 21);
    EQUAL(counters().mmcfg_translated, 21);
    EQUAL(counters().copy, 0);
    dm_close(&dm);
}

static void each_server_has_its_form(void)
{
    dm_start(&dm, 0);
    dm_start(&other, 0);
    EQUAL(map(&dm, 0, WINDOW, 0, 255, XEN_DMOP_mmcfg_native), 0);
    claim(&dm, 0, 0, 0, 0);
    claim(&other, 0, 0, 0, 1); /* said nothing of MMCONFIG */
    read_goes(WINDOW + AT(0, 0, 0, 0xffc), 4, &dm, IOREQ_TYPE_COPY, WINDOW + AT(0, 0, 0, 0xffc));
    read_goes(WINDOW + AT(0, 0, 1, 0xffc), 4, &other, IOREQ_TYPE_PCI_CONFIG, UINT64_C(1) << 32 | 0xffc);
    /* Another's window says nothing against choosing. */
    EQUAL(xendevicemodel_set_ioreq_server_mmcfg(other.model, 1, other.id, XEN_DMOP_mmcfg_native), 0);
    EQUAL(xendevicemodel_set_ioreq_server_mmcfg(dm.model, 1, dm.id, 0), 0);
    read_goes(WINDOW + AT(0, 0, 1, 0), 8, &other, IOREQ_TYPE_COPY, WINDOW + AT(0, 0, 1, 0));
    read_goes(WINDOW, 8, &dm, IOREQ_TYPE_PCI_CONFIG, 0);
    EQUAL(counters().mmcfg_native, 2);
    EQUAL(counters().mmcfg_translated, 2);
    FAILS(xendevicemodel_set_ioreq_server_mmcfg(dm.model, 1, dm.id, 2), EINVAL);
    FAILS(xendevicemodel_set_ioreq_server_mmcfg(dm.model, 1, 7, 0), ENOENT);
    dm_close(&other);
    dm_close(&dm);
}

static void selected_as_for_cf8(void)
{
    uint64_t data = 0x80000000;
    dm_start(&dm, 0);
    dm_start(&other, 0);
    EQUAL(map(&dm, 0, WINDOW, 0, 0, 0), 0);
    claim(&dm, 0, 0, 0, 0);
    claim(&other, 0, 0, 0, 0); /* newer */
    dm_range(&dm, 1, WINDOW, WINDOW + 256 * MIB - 1); /* memory under the window gets nothing */
    read_goes(WINDOW, 4, &other, IOREQ_TYPE_PCI_CONFIG, 0);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, true, 0xcf8, 4, &data), XENSIM_UNHANDLED);
    start_read(&a, 0, XENSIM_PIO, 0xcfc, 4);
    asks(&other, IOREQ_TYPE_PCI_CONFIG, 0, 4);
    EQUAL(finish(&a), XENSIM_HANDLED);
    reads_ones(WINDOW + AT(0, 0, 1, 0), 4);
    EQUAL(xendevicemodel_set_ioreq_server_state(other.model, 1, other.id, 0), 0);
    read_goes(WINDOW, 4, &dm, IOREQ_TYPE_PCI_CONFIG, 0);
    read_goes(WINDOW + MIB, 4, &dm, IOREQ_TYPE_COPY, WINDOW + MIB); /* beyond the window's one bus */
    EQUAL(xendevicemodel_set_ioreq_server_state(dm.model, 1, dm.id, 0), 0);
    reads_ones(WINDOW, 8);
    dm_close(&other);
    dm_close(&dm);
}

static void refusals(void)
{
    struct xensim_mmcfg w[2];
    dm_start(&dm, 0);
    dm_start(&other, 0);
    FAILS(map(&dm, 0, WINDOW, 1, 0, 0), EINVAL);
    FAILS(map(&dm, 0, WINDOW, 0, 255, 2), EINVAL);
    FAILS(map(&dm, 0, WINDOW + MIB, 0, 255, 0), EINVAL);
    FAILS(map(&dm, 0, WINDOW + MIB / 2, 0, 0, 0), EINVAL);
    FAILS(map(&dm, 0, WINDOW + 2 * MIB, 0, 2, 0), EINVAL); /* 3 buses take an address of 4 */
    FAILS(map(&dm, 0, 0, 0, 255, 0), EINVAL);              /* RAM */
    FAILS(map(&dm, 0, TEST_RAM - MIB, 0, 0, 0), EINVAL);
    FAILS(xendevicemodel_map_mmcfg_to_ioreq_server(dm.model, 1, 6, 0, WINDOW, 0, 255, 0), ENOENT);
    FAILS(xendevicemodel_map_mmcfg_to_ioreq_server(dm.model, 2, 0, 0, WINDOW, 0, 255, 0), ESRCH);
    FAILS(unmap(&dm, 0), ENOENT);
    EQUAL(xensim_mmcfg_windows(host, w, 2), 0);
    EQUAL(map(&dm, 0, TEST_RAM, 0, 0, 0), 0); /* right behind RAM */
    EQUAL(map(&dm, 0, WINDOW, 0, 63, 0), 0);
    FAILS(map(&other, 0, WINDOW + 256 * MIB, 0, 63, 0), EEXIST); /* the segment is another's */
    FAILS(map(&other, 1, WINDOW, 0, 0, 0), EEXIST);
    FAILS(map(&other, 1, WINDOW + 63 * MIB, 9, 9, 0), EEXIST); /* where its last bus is */
    EQUAL(map(&other, 1, WINDOW + 64 * MIB, 64, 127, 0), 0);
    FAILS(map(&dm, 0, WINDOW, 0, 64, 0), EEXIST); /* growing into the neighbour; stays as it was */
    EQUAL(xensim_mmcfg_windows(host, w, 2), 2);
    EQUAL(w[0].end_bus, 63);
    EQUAL(w[1].base, WINDOW + 64 * MIB);
    EQUAL(w[1].start_bus, 64);
    EQUAL(w[1].server, other.id);
    FAILS(unmap(&dm, 1), ENOENT); /* the other's */
    EQUAL(unmap(&dm, 0), 0);
    EQUAL(xensim_mmcfg_windows(host, w, 2), 1);
    for (unsigned segment = 2; segment < 9; segment++)
        EQUAL(map(&dm, segment, UINT64_C(0x4000000000) + segment * 256 * MIB, 0, 255, 0), 0);
    FAILS(map(&dm, 9, UINT64_C(0x5000000000), 0, 255, 0), ENOSPC);
    EQUAL(map(&dm, 8, UINT64_C(0xffffffff) << 32, 0, 255, 0), 0); /* moving needs no room */
    dm_close(&other);
    dm_close(&dm);
}

static void moves_and_goes_with_its_server(void)
{
    dm_start(&dm, 0);
    dm_start(&other, 0);
    claim(&dm, 0, 1, 0, 0);
    claim(&dm, 0, 2, 0, 0);
    EQUAL(map(&other, 0, WINDOW, 0, 255, 0), 0);
    start_read(&a, 0, XENSIM_MMIO, WINDOW + AT(1, 0, 0, 0), 4);
    dm_request(&dm, 0);
    EQUAL(map(&other, 0, WINDOW - 256 * MIB, 0, 255, 0), 0); /* while an access waits */
    asks(&dm, IOREQ_TYPE_PCI_CONFIG, UINT64_C(0x100) << 32, 4);
    EQUAL(finish(&a), XENSIM_HANDLED);
    reads_ones(WINDOW + AT(1, 0, 0, 0), 4);
    read_goes(WINDOW - 256 * MIB + AT(1, 0, 0, 8), 4, &dm, IOREQ_TYPE_PCI_CONFIG, UINT64_C(0x100) << 32 | 8);
    /* Over itself, with fewer buses, each where it was. */
    EQUAL(map(&other, 0, WINDOW - 254 * MIB, 2, 3, 0), 0);
    reads_ones(WINDOW - 256 * MIB + AT(1, 0, 0, 0), 4);
    read_goes(WINDOW - 256 * MIB + AT(2, 0, 0, 0), 4, &dm, IOREQ_TYPE_PCI_CONFIG, UINT64_C(0x200) << 32);
    EQUAL(xendevicemodel_destroy_ioreq_server(other.model, 1, other.id), 0);
    reads_ones(WINDOW - 256 * MIB + AT(2, 0, 0, 0), 4);
    EQUAL(xensim_mmcfg_windows(host, NULL, 0), 0);
    EQUAL(counters().mmcfg_translated, 3);
    dm_close(&other);
    dm_close(&dm);
}

static void segments_have_windows_of_their_own(void)
{
    dm_start(&dm, 0);
    EQUAL(map(&dm, 0, WINDOW, 0, 0, 0), 0);
    EQUAL(map(&dm, 0xabcd, UINT64_C(1) << 40, 0, 255, 0), 0);
    claim(&dm, 0xabcd, 255, 31, 7);
    reads_ones(WINDOW, 4);
    read_goes((UINT64_C(1) << 40) + AT(255, 31, 7, 0xff8), 8, &dm, IOREQ_TYPE_PCI_CONFIG,
              UINT64_C(0xabcdffff00000ff8));
    dm_close(&dm);
}

static void over_the_end_of_a_function(void)
{
    uint32_t done;
    dm_start(&dm, 0);
    EQUAL(map(&dm, 0, WINDOW, 0, 255, 0), 0);
    claim(&dm, 0, 0, 0, 0);
    claim(&dm, 0, 0, 0, 1);
    start_read(&a, 0, XENSIM_MMIO, WINDOW + 0xffe, 4); /* cut at the page */
    asks(&dm, IOREQ_TYPE_PCI_CONFIG, 0xffe, 2);
    asks(&dm, IOREQ_TYPE_PCI_CONFIG, UINT64_C(1) << 32, 2);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 0x97889788);
    memset(xensim_ram(host) + 0x1000, 0, 8);
    EQUAL(xensim_vcpu_rep(host, 0, XENSIM_MMIO, true, WINDOW + 0xffe, 0x1000, 4, 1, false, &done),
          XENSIM_UNHANDLED);
    EQUAL(xensim_ram(host)[0x1003], 0xff);
    EQUAL(xensim_ram(host)[0x1004], 0);
    dm_close(&dm);
}

static int rep(struct access *x)
{
    return xensim_vcpu_rep(host, x->vcpu, x->space, !x->write, x->addr, x->ram, x->width, x->count, x->df, &x->done);
}

static int stos(struct access *x)
{
    return xensim_vcpu_rep_stos(host, x->vcpu, x->addr, x->data, x->width, x->count, x->df);
}

static void repetitions(void)
{
    dm_start(&dm, 0);
    EQUAL(map(&dm, 0, WINDOW, 0, 255, 0), 0);
    claim(&dm, 0, 0, 0, 0);
    a = (struct access){.space = XENSIM_MMIO, .addr = WINDOW + 0x10, .ram = 0x1000, .width = 4, .count = 3};
    start(&a, rep);
    for (unsigned i = 0; i < 3; i++) {
        struct xen_ioreq p = asks(&dm, IOREQ_TYPE_PCI_CONFIG, 0x10 + 4 * i, 4);
        EQUAL(p.data, 0x1000 + 4 * i);
        EQUAL(p.state_flags & 0xf0, IOREQ_DATA_IS_PTR | IOREQ_DIR_READ);
    }
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.done, 3);
    a = (struct access){.addr = WINDOW + 0x20, .data = 7, .width = 2, .count = 2, .df = true};
    start(&a, stos);
    EQUAL(asks(&dm, IOREQ_TYPE_PCI_CONFIG, 0x20, 2).data, 7);
    EQUAL(asks(&dm, IOREQ_TYPE_PCI_CONFIG, 0x1e, 2).data, 7);
    EQUAL(finish(&a), XENSIM_HANDLED);

    EQUAL(xendevicemodel_set_ioreq_server_mmcfg(dm.model, 1, dm.id, XEN_DMOP_mmcfg_native), 0);
    a = (struct access){.space = XENSIM_MMIO, .write = true, .addr = WINDOW + 0xff8, .ram = 0x1000, .width = 4,
                        .count = 3};
    start(&a, rep);
    struct xen_ioreq p = dm_request(&dm, 0);
    EQUAL(p.type, IOREQ_TYPE_COPY);
    EQUAL(p.addr, WINDOW + 0xff8);
    EQUAL(p.count, 2); /* up to the end of the page, and of the function */
    dm_answer(&dm, 0, 0);
    EQUAL(finish(&a), XENSIM_UNHANDLED); /* the next function is nobody's */
    EQUAL(a.done, 3);
    dm_close(&dm);
}

static void an_arm_domain_has_one_too(void)
{
    uint64_t data = 0;
    host_restart(XENSIM_ARM, XENSIM_SPIN_US);
    dm_start(&dm, 0);
    EQUAL(map(&dm, 0, WINDOW, 0, 255, 0), 0);
    claim(&dm, 0, 0, 4, 0);
    read_goes(WINDOW + AT(0, 4, 0, 0x104), 8, &dm, IOREQ_TYPE_PCI_CONFIG, UINT64_C(0x20) << 32 | 0x104);
    reads_ones(WINDOW, 4);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, WINDOW + 0xffe, 4, &data), XENSIM_ABORT);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, WINDOW - 4, 4, &data), XENSIM_ABORT);
    EQUAL(unmap(&dm, 0), 0);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, WINDOW, 4, &data), XENSIM_ABORT);
    EQUAL(counters().aborted, 3);
    EQUAL(counters().unhandled, 1);
    dm_close(&dm);
}

const struct test mmcfg_tests[] = {
    {"mmcfg: accesses become configuration requests", accesses_become_configuration_requests},
    {"mmcfg: each server has its form", each_server_has_its_form},
    {"mmcfg: selected as for CF8", selected_as_for_cf8},
    {"mmcfg: refusals", refusals},
    {"mmcfg: moves, and goes with its server", moves_and_goes_with_its_server},
    {"mmcfg: segments have windows of their own", segments_have_windows_of_their_own},
    {"mmcfg: over the end of a function", over_the_end_of_a_function},
    {"mmcfg: repetitions", repetitions},
    {"mmcfg: an Arm domain has one too", an_arm_domain_has_one_too},
    {NULL, NULL},
};
