/* SPDX-License-Identifier: MIT */
#include "test.h"

static struct dm dm;

static void pci_pins_share_gsis(void)
{
    dm_open(&dm);
    /* Device 1 pin A and device 8 pin... (4 + 0 + 0) and (32 + 1 + 3) are both GSI 20. */
    unsigned gsi = 20;
    EQUAL(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 1, 0, 1), 0);
    EQUAL(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 1, 0, 1), 0);
    CHECK(xensim_gsi_level(host, gsi));
    EQUAL(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 8, 3, 1), 0);
    EQUAL(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 1, 0, 0), 0);
    CHECK(xensim_gsi_level(host, gsi)); /* the other still pulls */
    EQUAL(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 8, 3, 0), 0);
    CHECK(!xensim_gsi_level(host, gsi));
    EQUAL(xensim_gsi_edges(host, gsi), 1);
    FAILS(xendevicemodel_set_pci_intx_level(dm.model, 1, 1, 0, 1, 0, 1), EINVAL);
    FAILS(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 1, 1, 0, 1), EINVAL);
    FAILS(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 32, 0, 1), EINVAL);
    FAILS(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 1, 4, 1), EINVAL);
    FAILS(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 1, 0, 2), EINVAL);
    EQUAL(counters().intx_ops, 10);
    dm_close(&dm);
}

static void links_and_isa(void)
{
    dm_open(&dm);
    EQUAL(xendevicemodel_set_pci_link_route(dm.model, 1, 1, 10), 0);
    EQUAL(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 1, 0, 1), 0); /* link 1 */
    CHECK(xensim_gsi_level(host, 10));
    EQUAL(xendevicemodel_set_pci_link_route(dm.model, 1, 1, 11), 0);
    CHECK(!xensim_gsi_level(host, 10) && xensim_gsi_level(host, 11));
    EQUAL(xendevicemodel_set_isa_irq_level(dm.model, 1, 11, 1), 0);
    EQUAL(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 1, 0, 0), 0);
    CHECK(xensim_gsi_level(host, 11));
    EQUAL(xendevicemodel_set_isa_irq_level(dm.model, 1, 11, 0), 0);
    CHECK(!xensim_gsi_level(host, 11));
    EQUAL(xendevicemodel_set_isa_irq_level(dm.model, 1, 0, 1), 0);
    CHECK(xensim_gsi_level(host, 2));
    FAILS(xendevicemodel_set_isa_irq_level(dm.model, 1, 16, 1), EINVAL);
    FAILS(xendevicemodel_set_isa_irq_level(dm.model, 1, 3, 2), EINVAL);
    FAILS(xendevicemodel_set_pci_link_route(dm.model, 1, 4, 1), EINVAL);
    FAILS(xendevicemodel_set_pci_link_route(dm.model, 1, 0, 16), EINVAL);
    dm_close(&dm);
}

static void messages(void)
{
    struct xensim_msi m;
    uint64_t now = 0, seen;
    dm_open(&dm);
    CHECK(!xensim_take_msi(host, &m));
    xensim_wait_interrupt(host, UINT64_MAX, 0, &now);
    CHECK(!xensim_wait_interrupt(host, now, 10, &seen));
    EQUAL(xendevicemodel_inject_msi(dm.model, 1, 0xfee00000, 0x41), 0);
    EQUAL(xendevicemodel_inject_msi(dm.model, 1, 0xfee01000, 0x142), 0);
    CHECK(xensim_wait_interrupt(host, now, 1000, &seen));
    CHECK(xensim_take_msi(host, &m) && m.data == 0x41 && m.addr == 0xfee00000);
    CHECK(xensim_take_msi(host, &m) && m.data == 0x142);
    CHECK(!xensim_take_msi(host, &m));
    FAILS(xendevicemodel_inject_msi(dm.model, 1, 0xfee00000, 0), ERANGE);
    EQUAL(xendevicemodel_inject_msi(dm.model, 1, 0xfee05000, 0), 0); /* a pirq */
    FAILS(xendevicemodel_inject_msi(dm.model, 1, 0xfee00000, 0x741), EINVAL); /* ExtINT */
    dm_close(&dm);
}

static void events(void)
{
    struct xensim_event e;
    dm_open(&dm);
    EQUAL(xendevicemodel_inject_event(dm.model, 1, 1, 2, 2, 0, 0, 0), 0);
    FAILS(xendevicemodel_inject_event(dm.model, 1, 1, 14, 3, 1, 0, 0x1000), EBUSY);
    FAILS(xendevicemodel_inject_event(dm.model, 1, TEST_VCPUS, 2, 2, 0, 0, 0), EINVAL);
    CHECK(!xensim_take_event(host, 0, &e));
    CHECK(xensim_take_event(host, 1, &e) && e.vector == 2 && e.type == 2);
    EQUAL(xendevicemodel_inject_event(dm.model, 1, 1, 14, 3, 1, 0, 0x1000), 0);
    CHECK(xensim_take_event(host, 1, &e) && e.cr2 == 0x1000);
    dm_close(&dm);
}

const struct test irq_tests[] = {
    {"irq: PCI pins share GSIs", pci_pins_share_gsis},
    {"irq: links and ISA", links_and_isa},
    {"irq: messages", messages},
    {"irq: events", events},
    {NULL, NULL},
};
