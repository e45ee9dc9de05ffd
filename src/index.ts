// SPDX-License-Identifier: MIT
/** The package `ioreqd`: what a device or a guest program of your own imports. */

export type { Register, Register64, BytesRegister } from "./bus/register.js";
export type { BlockTable, RegisterRow, BytesRow, Rows, Width } from "./bus/table.js";
export {
  type BarTable,
  type Chardev,
  definePciDevice,
  type DeviceContext,
  type DeviceLog,
  type Dma,
  type Ident,
  type Intx,
  type OptionRow,
  type PciDevice,
  type PciDeviceTable,
  type Timer,
} from "./pci/define.js";
export type { GuestProgram, GuestVcpu } from "./sim/guest.js";
