/* SPDX-License-Identifier: MIT */
/* MMCONFIG windows. What they are is in mmcfg.c. */
#ifndef XENSIM_MMCFG_H
#define XENSIM_MMCFG_H

#include "../abi.h"

#include <stdbool.h>

#define MAX_NR_MMCFG 8 /* windows of a domain, one for each segment that it has */

struct xensim;
struct ioreq_server;

/* They change under server_lock while the domain is paused; a running vCPU reads them. */
struct mmcfg_windows {
    unsigned count;
    struct mmcfg_window {
        uint64_t base; /* of start_bus */
        uint16_t segment;
        uint8_t start_bus, end_bus;
        ioservid_t server;
    } window[MAX_NR_MMCFG];
};

enum mmcfg_place { MMCFG_OUTSIDE, MMCFG_FUNCTION, MMCFG_STRADDLING };

PRIVATE int mmcfg_map(struct xensim *x, const struct dmop_map_mmcfg *m);
PRIVATE int mmcfg_unmap(struct xensim *x, const struct dmop_unmap_mmcfg *m);
PRIVATE int mmcfg_set_form(struct xensim *x, const struct dmop_set_ioreq_server_mmcfg *m);
/* The server goes: its windows with it. server_lock held, domain paused or no longer running. */
PRIVATE void mmcfg_forget(struct xensim *x, unsigned server);
/* Where the bytes first..last of a COPY request at p->addr are; config: sbdf << 32 | offset. */
PRIVATE enum mmcfg_place mmcfg_decode(const struct xensim *x, const struct xen_ioreq *p,
                                      uint64_t first, uint64_t last, uint64_t *config);
/* Give the request the form that its server wants. */
PRIVATE void mmcfg_form(struct xensim *x, const struct ioreq_server *s, struct xen_ioreq *p,
                        uint64_t config);

#endif
