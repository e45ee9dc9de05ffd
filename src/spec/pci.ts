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
/** Header layout of a bridge. */
export const TYPE_1 = 0x01;

/** Offsets in bytes: what a type 1 header has instead. PCI-to-PCI Bridge 1.2, 3.2. */
export const BRIDGE = {
  primary: 0x18,
  secondary: 0x19,
  subordinate: 0x1a,
  secondaryLatency: 0x1b,
  ioBase: 0x1c,
  ioLimit: 0x1d,
  secondaryStatus: 0x1e,
  memoryBase: 0x20,
  memoryLimit: 0x22,
  prefetchBase: 0x24,
  prefetchLimit: 0x26,
  prefetchBaseHigh: 0x28,
  prefetchLimitHigh: 0x2c,
  ioBaseHigh: 0x30,
  ioLimitHigh: 0x32,
  rom: 0x38,
  control: 0x3e,
} as const;

/** Bridge Control. PCI-to-PCI Bridge 1.2, 3.2.5.18. */
export const BRIDGE_CONTROL = { parity: 1 << 0, serr: 1 << 1, masterAbort: 1 << 5, busReset: 1 << 6 } as const;

/** Both windows for prefetchable memory can be 64 bits wide: the low bits of base and limit say so. */
export const PREFETCH_64 = 0x1;

/** Low bits of a base address register. PCI 3.0 6.2.5.1. */
export const BAR = { io: 0x1, mem64: 0x4, prefetchable: 0x8, romEnable: 0x1 } as const;

/** PCI 3.0 appendix H; PCI Express 3.0 7.8. */
export const CAPABILITY = { power: 0x01, msi: 0x05, vendor: 0x09, subsystem: 0x0d, express: 0x10, msix: 0x11 } as const;

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

/** Slot registers of a port. PCI Express Base 3.0 7.8.9 to 7.8.11. */
export const SLOT = {
  /** Attention button, power controller, both indicators, surprise, hot-plug; no command-completed events. */
  capabilities: 0x0004_007b,
  /** Power on, its indicator on, the attention indicator off. */
  controlReset: 0x01c0,
  controlWritable: 0x17fb,
  /** Control: what is to interrupt. */
  buttonEnable: 1 << 0,
  presenceEnable: 1 << 3,
  interruptEnable: 1 << 5,
  powerOff: 1 << 10,
  linkEnable: 1 << 12,
  /** Status: cleared by writing ones, but for `present`. */
  buttonPressed: 1 << 0,
  presenceChanged: 1 << 3,
  present: 1 << 6,
  linkChanged: 1 << 8,
  events: 0x0119,
} as const;

/** Link Status: the data link layer is active. PCI Express Base 3.0 7.8.8. */
export const LINK_ACTIVE = 1 << 13;
