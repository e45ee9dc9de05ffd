/* SPDX-License-Identifier: MIT */
/* What the files of libxendevicemodel share. */
#ifndef XENSIM_LIB_DEVICEMODEL_H
#define XENSIM_LIB_DEVICEMODEL_H

#include "xen.h"

/* An operation without a buffer. Returns 0, or -1 with errno. */
int dm_op(xendevicemodel_handle *dmod, domid_t domid, struct dmop *op);

#endif
