// SPDX-License-Identifier: MIT
/** The requests that a process which died may have been serving: for names, not for serving them. */

import { STATE, STATE_MASK } from "../spec/xen-ioreq.js";
import type { IoreqPages } from "../xen/host.js";
import type { RawRequest } from "./rep.js";
import { BufferedRing } from "./ring.js";
import { Slots } from "./slots.js";

export class LeftRequests {
  readonly #slots: Slots;
  readonly #ring: BufferedRing | null;

  constructor(pages: IoreqPages) {
    this.#slots = new Slots(pages.ioreq);
    this.#ring = pages.ring === null ? null : new BufferedRing(pages.ring);
  }

  /** What this vCPU waits for, if somebody began to serve it. */
  ofVcpu(slot: number): RawRequest | null {
    const flags = this.#slots.flags(slot);
    return (flags & STATE_MASK) === STATE.inProcess ? this.#slots.request(slot, flags) : null;
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
