// SPDX-License-Identifier: MIT
/**
 * The shared pages of an ioreq server, as numbers.
 *
 * Source: Xen public/hvm/ioreq.h. Checked against the C header by test/xen/layout.test.ts.
 */

/** struct ioreq, one per vCPU in the synchronous page. Offsets and size in bytes. */
export const IOREQ = {
  size: 32,
  addr: 0,
  data: 8,
  count: 16,
  width: 20,
  evtchn: 24,
  /** Low nibble the state, then data_is_ptr, dir, df. */
  flags: 30,
  type: 31,
} as const;

/** The same fields as indices of 32-bit words within a slot. */
export const WORD = {
  perSlot: 8,
  addrLo: 0,
  addrHi: 1,
  dataLo: 2,
  dataHi: 3,
  count: 4,
  width: 5,
  evtchn: 6,
} as const;

/** The state nibble. It only ever goes forward; Xen crashes the domain otherwise. */
export const STATE = { none: 0, ready: 1, inProcess: 2, respReady: 3 } as const;

export const STATE_MASK = 0x0f;
export const DATA_IS_PTR = 0x10;
export const DIR_READ = 0x20;
export const DIRECTION_FLAG = 0x40;

/** IOREQ_TYPE_*. */
export const TYPE = { pio: 0, copy: 1, pciConfig: 2, timeoffset: 7, invalidate: 8 } as const;

/** Slots in one 4 KiB page, and HVM_MAX_VCPUS. */
export const MAX_VCPUS = 128;
export const PAGE_SIZE = 4096;

/** Of a domain, with ids from 0. Source: Xen xen/include/xen/sched.h, MAX_NR_IOREQ_SERVERS. */
export const MAX_SERVERS = 8;

/** struct buffered_iopage: two free-running u32 pointers, then 511 slots of 8 bytes. */
export const RING = { readPointer: 0, writePointer: 4, slots: 8, slotSize: 8, slotCount: 511 } as const;

/** HVM_IOREQSRV_BUFIOREQ_*. Source: Xen public/hvm/hvm_op.h. */
export const BUFIOREQ = { off: 0, legacy: 1, atomic: 2 } as const;
