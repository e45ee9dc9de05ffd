// SPDX-License-Identifier: MIT
/** A guest program's part of RAM. */

import { IoreqdError } from "../base/errors.js";
import { hex } from "../base/hex.js";
import type { DmaMemory } from "./guest.js";

/** Below is what firmware and the first programs use; a guest with less RAM has all of it for DMA. */
const DMA_START = 1 << 20;

export function dmaMemoryOf(ram: Uint8Array): DmaMemory {
  const gpa = ram.length > DMA_START ? DMA_START : 0;
  return { gpa, length: ram.length - gpa };
}

/** Not a copy. Throws BAD_VALUE where there is no RAM. */
export function ramAt(ram: Uint8Array, gpa: number, length: number): Uint8Array {
  if (gpa >= 0 && gpa + length <= ram.length) return ram.subarray(gpa, gpa + length);
  throw new IoreqdError("BAD_VALUE", `${length} bytes at ${hex(gpa)}: RAM ends at ${hex(ram.length)}`);
}
