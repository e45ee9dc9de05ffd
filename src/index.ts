// SPDX-License-Identifier: MIT
/** The package `ioreqd`: what a device or a guest program of your own imports. */

export type { BytesRegister, Register, Register64 } from "./bus/register.js";
export type { BlockTable, BytesRow, RegisterRow, Rows, Width } from "./bus/table.js";
export {
  type BarTable,
  type Chardev,
  type DeviceContext,
  type DeviceLog,
  type Dma,
  definePciDevice,
  type Ident,
  type Intx,
  type OptionRow,
  type PciDevice,
  type PciDeviceTable,
  type Timer,
} from "./pci/define.js";
export type { Access, DmaMemory, GuestCpu, GuestProgram, GuestVcpu } from "./sim/guest.js";
