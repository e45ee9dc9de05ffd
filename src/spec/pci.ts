// SPDX-License-Identifier: MIT
/** PCI configuration space, type 0 header. Source: PCI Local Bus 3.0, chapter 6. */

/** Offsets in bytes. */
export const CONFIG = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  classCode: 0x09,
  cacheLine: 0x0c,
  latency: 0x0d,
  headerType: 0x0e,
  bist: 0x0f,
  bar0: 0x10,
  subsystemVendor: 0x2c,
  subsystem: 0x2e,
  rom: 0x30,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
} as const;

/** Size of conventional configuration space, and of PCI Express extended space, in bytes. */
export const CONFIG_SIZE = 256;

/** PCI 3.0 6.2.2. */
export const COMMAND = {
  io: 1 << 0,
  memory: 1 << 1,
  busMaster: 1 << 2,
  specialCycles: 1 << 3,
  parityResponse: 1 << 6,
  serr: 1 << 8,
  intxDisable: 1 << 10,
} as const;

/** PCI 3.0 6.2.3, as bits of the 16-bit register. */
export const STATUS = {
  interrupt: 1 << 3,
  capabilities: 1 << 4,
  /** Bits 8 and 11-15: errors, cleared by writing ones. */
  errors: 0xf900,
} as const;

export const MULTI_FUNCTION = 0x80;

/** Low bits of a base address register. PCI 3.0 6.2.5.1. */
export const BAR = { io: 0x1, mem64: 0x4, prefetchable: 0x8, romEnable: 0x1 } as const;
