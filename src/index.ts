// SPDX-License-Identifier: MIT
/** The package `ioreqd`: what a device or a guest program of your own imports. */

export type { BytesRegister, Register, Register64 } from "./bus/register.js";
export type { BlockTable, BytesRow, RegisterRow, Rows, Width } from "./bus/table.js";
export { advancedErrors, expressEndpoint } from "./pci/capabilities/express.js";
export { msi, msix } from "./pci/capabilities/interrupts.js";
export { powerManagement } from "./pci/capabilities/power.js";
export {
  alternativeRoutingId,
  extendedVendorSpecific,
  serialNumber,
  vendorSpecific,
} from "./pci/capabilities/vendor.js";
export type { Capability, CapabilityContext, InBar, MsiShape, MsixShape, Place } from "./pci/capability.js";
export {
  type BarTable,
  type Chardev,
  type DeviceContext,
  type DeviceLog,
  type Dma,
  definePciDevice,
  type Ident,
  type Intx,
  type Msi,
  type OptionRow,
  type OptionValues,
  type PciDevice,
  type PciDeviceTable,
  type Sending,
  type Timer,
} from "./pci/define.js";
export type { Access, DmaMemory, GuestCpu, GuestProgram, GuestVcpu } from "./sim/guest.js";
export type { BytesField, FieldRow } from "./state/fields.js";
export type { NamedValues, Upgrade, Value } from "./state/kept.js";
