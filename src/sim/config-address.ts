// SPDX-License-Identifier: MIT
/** Where a register of PCI configuration space is, for a guest. */

import { IoreqdError } from "../base/errors.js";
import { parseSbdf } from "../base/ids.js";
import type { Bdf } from "./guest.js";

const CF8_ENABLE = 0x8000_0000;
/** Source: Xen public/arch-arm.h, GUEST_VPCI_ECAM_BASE. */
const ARM_ECAM = 0x1000_0000;

/** Throws BAD_VALUE. */
export function bdfNumber(bdf: Bdf): number {
  const at = typeof bdf === "string" ? parseSbdf(bdf) : bdf;
  if (Number.isInteger(at) && at >= 0 && at <= 0xffff) return at;
  throw new IoreqdError("BAD_VALUE", `PCI address ${bdf}: a guest has one segment, 0, with addresses 0 to 0xffff`, {
    bdf,
  });
}

/** Source: PCI 3.0 3.2.2.3.2; bits 27:24 for offsets above 255 as in AMD's BKDG for family 10h. */
export function cf8Value(bdf: number, offset: number): number {
  return (CF8_ENABLE | (bdf << 8) | ((offset & 0xf00) << 16) | (offset & 0xfc)) >>> 0;
}

export function ecamAddress(bdf: number, offset: number): number {
  return ARM_ECAM + bdf * 4096 + offset;
}
