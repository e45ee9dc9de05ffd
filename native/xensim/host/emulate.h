/* SPDX-License-Identifier: MIT */
/* What string instructions share with single ones. */
#ifndef XENSIM_EMULATE_H
#define XENSIM_EMULATE_H

#include "internal.h"

#define PAGE_OFFSET(a) ((unsigned)((a) & (XEN_PAGE_SIZE - 1)))

/* The end of an instruction that Xen could not emulate, apart from what the guest is told. */
struct outcome {
    enum xensim_result result;
    bool refused; /* ioreq_send() found the slot spoilt: the instruction stops here */
};

PRIVATE bool emulate_valid_width(unsigned width, unsigned max);
PRIVATE struct outcome emulate_io(struct xensim *x, unsigned vcpu, struct xen_ioreq *p,
                                  bool to_mem_type);
/* count: elements wanted; on return, those that the request was for. */
PRIVATE struct outcome emulate_mmio_value(struct xensim *x, unsigned vcpu, bool write, uint64_t gpa,
                                          unsigned size, uint32_t *count, bool df, uint64_t *data,
                                          bool to_mem_type);
PRIVATE struct outcome emulate_mmio(struct xensim *x, unsigned vcpu, bool write, uint64_t gpa,
                                    uint8_t *buffer, unsigned size);
PRIVATE enum xensim_result emulate_pio(struct xensim *x, unsigned vcpu, bool write, uint64_t port,
                                       unsigned width, uint64_t *data);
PRIVATE void emulate_snoop_cf8(struct xensim *x, uint64_t port, unsigned width, uint32_t data);

#endif
