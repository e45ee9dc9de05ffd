// SPDX-License-Identifier: MIT
/** An access of 8 bytes is two of 4, low half first: docs/architecture.md, "What an access does to registers". */

import type { Bus } from "./bus.js";

export class WideAccess {
  /** High half of the last read. A field, because two int32 can't be returned without allocating. */
  high = 0;
  readonly #bus: Bus;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** Returns the low half; all-ones where the table doesn't take the width. */
  read(type: number, hi: number, lo: number): number {
    const bus = this.#bus;
    this.high = -1;
    if (!bus.accepts8(type, hi, lo)) return -1;
    const low = bus.read(type, hi, lo, 4);
    bus.access.position = 4;
    this.high = bus.read(type, carried(hi, lo), (lo + 4) | 0, 4);
    bus.access.position = 0;
    return low;
  }

  write(type: number, hi: number, lo: number, dataLo: number, dataHi: number): void {
    const bus = this.#bus;
    if (!bus.accepts8(type, hi, lo)) return;
    bus.write(type, hi, lo, 4, dataLo);
    bus.write(type, carried(hi, lo), (lo + 4) | 0, 4, dataHi);
  }

  /** An access of this width, 8 or another, to be written. */
  writeAny(type: number, hi: number, lo: number, width: number, dataLo: number, dataHi: number): void {
    if (width === 8) this.write(type, hi, lo, dataLo, dataHi);
    else this.#bus.write(type, hi, lo, width, dataLo);
  }
}

/** High word of the address 4 further on. An offset of configuration space has none: accepts8() sees to that. */
const carried = (hi: number, lo: number): number => (lo >>> 0 > 0xffff_fffb ? (hi + 1) | 0 : hi);
