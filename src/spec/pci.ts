// SPDX-License-Identifier: MIT
/**
 * PCI configuration space as numbers. Sources: PCI Local Bus 3.0, chapter 6;
 * PCI Express Base 3.0, chapter 7; PCI Power Management 1.2, chapter 3.
 */

/** Offsets in bytes: the type 0 header. */
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
  /** Where the standard header ends and capabilities begin. */
  headerEnd: 0x40,
} as const;

/** Size of conventional configuration space, and of that of PCI Express, in bytes. */
export const CONFIG_SIZE = 256;
export const EXPRESS_CONFIG_SIZE = 4096;

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

/** PCI 3.0 appendix H; PCI Express 3.0 7.8. */
export const CAPABILITY = { power: 0x01, msi: 0x05, vendor: 0x09, express: 0x10, msix: 0x11 } as const;

/** PCI Express 3.0 7.10 to 7.28. */
export const EXTENDED_CAPABILITY = { aer: 0x0001, serialNumber: 0x0003, vendor: 0x000b, ari: 0x000e } as const;

/** Message Control of MSI. PCI 3.0 6.8.1.3. */
export const MSI = {
  enable: 1 << 0,
  /** log2 of the messages asked for, and of those the guest allows: three bits each. */
  capableShift: 1,
  enabledShift: 4,
  address64: 1 << 7,
  maskable: 1 << 8,
} as const;

/** Message Control of MSI-X, and Vector Control of a table entry. PCI 3.0 6.8.2. */
export const MSIX = {
  functionMask: 1 << 14,
  enable: 1 << 15,
  masked: 1 << 0,
  /** Bytes of a table entry: address, data, control. */
  entrySize: 16,
  /** Table and PBA offsets are multiples of 8; their low three bits name the BAR. */
  barMask: 7,
} as const;

/** Power Management Control/Status. PCI Power Management 1.2, 3.2.4. */
export const POWER = {
  stateMask: 0x3,
  d0: 0,
  d3hot: 3,
  noSoftReset: 1 << 3,
  pmeEnable: 1 << 8,
  pmeStatus: 1 << 15,
} as const;

/** PCI Express capability structure. PCI Express Base 3.0 7.8. */
export const EXPRESS = {
  endpoint: 0x0,
  rootPort: 0x4,
  integratedEndpoint: 0x9,
  slotImplemented: 1 << 8,
  /** Device Capabilities. */
  roleBasedErrors: 1 << 15,
  functionReset: 1 << 28,
  /** Device Control: 512-byte read requests, relaxed ordering and no-snoop allowed. */
  controlReset: 0x2810,
  controlWritable: 0x78ff,
  initiateReset: 1 << 15,
  statusErrors: 0x000f,
  /** Link Control: ASPM, common clock, extended sync. */
  linkWritable: 0x00c3,
  /** Bits of the advanced error registers, 7.10.2 to 7.10.5. */
  uncorrectable: 0x003f_f030,
  fatal: 0x0006_2030,
  correctable: 0x0000_f1c1,
  advisory: 1 << 13,
} as const;
