/* SPDX-License-Identifier: MIT */
/* What is different for an Arm domain. */
#include "test.h"

#include <sys/mman.h>

static void an_arm_domain(void)
{
    struct dm dm;
    ioservid_t id;
    uint64_t data = 0;
    void *at = NULL;
    xen_pfn_t gfn;
    host_restart(XENSIM_ARM, XENSIM_SPIN_US);
    dm_open(&dm);
    FAILS(xendevicemodel_create_ioreq_server(dm.model, 1, 1, &id), EINVAL);
    FAILS(xendevicemodel_create_ioreq_server(dm.model, 1, 2, &id), EINVAL);
    dm_close(&dm);
    dm_start(&dm, 0);
    FAILS_NULL(xenforeignmemory_map_resource(dm.memory, 1, 0, dm.id, 0, 1, &at, PROT_READ, 0), ENOENT);
    FAILS(xendevicemodel_get_ioreq_server_info(dm.model, 1, dm.id, &gfn, NULL, NULL), EOPNOTSUPP);
    FAILS(xendevicemodel_set_pci_intx_level(dm.model, 1, 0, 0, 1, 0, 1), EOPNOTSUPP);
    FAILS(xendevicemodel_inject_msi(dm.model, 1, 0xfee00000, 0x41), EOPNOTSUPP);
    FAILS(xendevicemodel_modified_memory(dm.model, 1, 1, 1), EOPNOTSUPP);
    FAILS(xendevicemodel_shutdown(dm.model, 1, 0), EOPNOTSUPP);

    EQUAL(xendevicemodel_set_irq_level(dm.model, 1, 33, 1), 0);
    EQUAL(xendevicemodel_set_irq_level(dm.model, 1, 33, 1), 0);
    CHECK(xensim_gsi_level(host, 33));
    EQUAL(xensim_gsi_edges(host, 33), 1);
    EQUAL(xendevicemodel_set_irq_level(dm.model, 1, 33, 0), 0);
    CHECK(!xensim_gsi_level(host, 33));
    FAILS(xendevicemodel_set_irq_level(dm.model, 1, 31, 1), EINVAL);
    FAILS(xendevicemodel_set_irq_level(dm.model, 1, 1020, 1), EINVAL);
    FAILS(xendevicemodel_set_irq_level(dm.model, 1, 40, 2), EINVAL);

    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, false, MMIO, 4, &data), XENSIM_ABORT);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_PIO, false, 0x80, 1, &data), XENSIM_ABORT);
    EQUAL(counters().aborted, 1);
    EQUAL(counters().unhandled, 0);
    dm_range(&dm, 1, MMIO, MMIO + 0xfff);
    struct access a;
    start_read(&a, 0, XENSIM_MMIO, MMIO + 8, 2);
    struct xen_ioreq p = dm_request(&dm, 0);
    EQUAL(p.type, IOREQ_TYPE_COPY);
    EQUAL(p.count, 1);
    dm_answer(&dm, 0, 0xabcdef);
    EQUAL(finish(&a), XENSIM_HANDLED);
    EQUAL(a.data, 0xcdef);
    EQUAL(xendevicemodel_set_ioreq_server_state(dm.model, 1, dm.id, 0), 0);
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, true, MMIO, 4, &data), XENSIM_ABORT);
    data = 0x77;
    EQUAL(xensim_vcpu_access(host, 0, XENSIM_MMIO, true, 0x1000, 1, &data), XENSIM_HANDLED);
    EQUAL(xensim_ram(host)[0x1000], 0x77);
    dm_close(&dm);
}

const struct test arm_tests[] = {
    {"arm: an Arm domain", an_arm_domain},
    {NULL, NULL},
};
