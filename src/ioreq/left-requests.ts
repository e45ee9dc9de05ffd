// SPDX-License-Identifier: MIT
/** The requests that a process which died may have been serving: for names, not for serving them. */

import { IOREQ, STATE, STATE_MASK, WORD } from "../spec/xen-ioreq.js";
import type { IoreqPages } from "../xen/host.js";
import type { RawRequest } from "./rep.js";
import { BufferedRing } from "./ring.js";

export class LeftRequests {
  readonly #u8: Uint8Array;
  readonly #i32: Int32Array;
  readonly #ring: BufferedRing | null;

  constructor(pages: IoreqPages) {
    this.#u8 = new Uint8Array(pages.ioreq);
    this.#i32 = new Int32Array(pages.ioreq);
    this.#ring = pages.ring === null ? null : new BufferedRing(pages.ring);
  }

  /** What this vCPU waits for, if somebody began to serve it. */
  ofVcpu(slot: number): RawRequest | null {
    const byte = slot * IOREQ.size;
    const flags = this.#u8[byte + IOREQ.flags] as number;
    if ((flags & STATE_MASK) !== STATE.inProcess) return null;
    const word = (field: "addrLo" | "addrHi" | "dataLo" | "dataHi" | "count" | "width"): number =>
      this.#i32[slot * WORD.perSlot + WORD[field]] as number;
    return {
      slot,
      type: this.#u8[byte + IOREQ.type] as number,
      flags,
      hi: word("addrHi"),
      lo: word("addrLo"),
      width: word("width"),
      count: word("count"),
      dataLo: word("dataLo"),
      dataHi: word("dataHi"),
    };
  }

  /** The entry of the buffered ring that begins at slot `at` of it, if that is the next one. Its `slot` is -1. */
  ofRing(at: number): RawRequest | null {
    let found: RawRequest | null = null;
    this.#ring?.peek({
      applyBuffered: (type, lo, width, dataLo, dataHi, place) => {
        if (place === at) found = { slot: -1, type, flags: 0, hi: 0, lo, width, count: 1, dataLo, dataHi };
      },
    });
    return found;
  }
}
