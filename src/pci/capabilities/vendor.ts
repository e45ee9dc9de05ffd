// SPDX-License-Identifier: MIT
/** Capabilities whose contents a vendor defines, and those that only say something. Source: PCI 3.0 6.7; PCI Express 3.0 7.12, 7.19, 7.23. */

import { IoreqdError } from "../../base/errors.js";
import { type Rows, rowLength } from "../../bus/table.js";
import { CAPABILITY, EXTENDED_CAPABILITY } from "../../spec/pci.js";
import type { Capability } from "../capability.js";

const end = (regs: Rows, least: number): number =>
  Object.values(regs).reduce((most, row) => Math.max(most, row.at + rowLength(row)), least);

/** Vendor-specific: whatever rows there are from offset 3 on. */
export function vendorSpecific(options: {
  readonly name?: string;
  readonly regs: Rows;
  readonly at?: number;
}): Capability {
  const { name = "VNDR", regs, ...place } = options;
  const length = (end(regs, 4) + 3) & ~3;
  return {
    name,
    id: CAPABILITY.vendor,
    length,
    ...place,
    regs: { LENGTH: { at: 0x02, width: 1, reset: length }, ...regs },
  };
}

/** Vendor-specific, in extended space: rows from offset 8 on, behind an id and revision of the vendor's. */
export function extendedVendorSpecific(options: {
  readonly name?: string;
  /** 16 bits. */
  readonly id: number;
  /** 4 bits. */
  readonly revision: number;
  readonly regs: Rows;
  readonly at?: number;
}): Capability {
  const { name = "VSEC", id, revision, regs, ...place } = options;
  const length = (end(regs, 8) + 3) & ~3;
  return {
    name,
    id: EXTENDED_CAPABILITY.vendor,
    version: 1,
    length,
    ...place,
    regs: { VENDOR_HEADER: { at: 0x04, reset: ((length << 20) | (revision << 16) | id) >>> 0 }, ...regs },
  };
}

/** Subsystem ids of a bridge, which has no room for them in its header. Source: PCI-to-PCI Bridge 1.2, 3.2.5.13. */
export function subsystemIds(options: { readonly vendor: number; readonly device: number }): Capability {
  return {
    name: "SSVID",
    id: CAPABILITY.subsystem,
    length: 8,
    regs: {
      VENDOR_ID: { at: 0x04, width: 2, reset: options.vendor },
      DEVICE_ID: { at: 0x06, width: 2, reset: options.device },
    },
  };
}

/** A number that no other device has: 64 bits. */
export function serialNumber(serial: bigint): Capability {
  if (serial < 0n || serial >> 64n !== 0n)
    throw new IoreqdError("TABLE_INVALID", `serial number ${serial}: 64 bits`, {});
  return {
    name: "SERIAL",
    id: EXTENDED_CAPABILITY.serialNumber,
    version: 1,
    length: 12,
    regs: { NUMBER: { at: 0x04, width: 8, reset: serial } },
  };
}

/** Alternative routing-id: the function after this one, 0 for none. Only for devices of several functions behind a port. */
export function alternativeRoutingId(options: { readonly nextFunction?: number } = {}): Capability {
  return {
    name: "ARI",
    id: EXTENDED_CAPABILITY.ari,
    version: 1,
    length: 8,
    regs: {
      CAPABILITIES: { at: 0x04, width: 2, reset: ((options.nextFunction ?? 0) & 0xff) << 8 },
      CONTROL: { at: 0x06, width: 2 },
    },
  };
}
