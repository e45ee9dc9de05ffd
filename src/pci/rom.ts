// SPDX-License-Identifier: MIT
/** An expansion ROM: constant bytes behind a BAR of its own. Source: PCI 3.0 6.2.5.2. */

import type { Target } from "../bus/address-map.js";

const LEAST_SIZE = 2048;

/** Bytes a ROM of this length decodes: a power of two, 2 KiB at least. */
export function romSize(length: number): number {
  return length === 0 ? 0 : Math.max(LEAST_SIZE, 2 ** Math.ceil(Math.log2(length)));
}

export class Rom implements Target {
  readonly #bytes: DataView;

  constructor(contents: Uint8Array) {
    const padded = new Uint8Array(romSize(contents.length) + 4).fill(0xff);
    padded.set(contents);
    this.#bytes = new DataView(padded.buffer);
  }

  read(offset: number, width: number): number {
    if (width === 4) return this.#bytes.getInt32(offset, true);
    return width === 2 ? this.#bytes.getUint16(offset, true) : this.#bytes.getUint8(offset);
  }

  write(): void {
    // A ROM takes no writes; real ones ignore them too.
  }

  accepts(): boolean {
    return true;
  }

  nameAt(): string {
    return "ROM";
  }
}
