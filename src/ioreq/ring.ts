// SPDX-License-Identifier: MIT
/**
 * The buffered ring: writes that the guest does not wait for.
 *
 * Both pointers are free-running. In atomic mode Xen subtracts multiples of
 * 511 from both, with a compare-and-swap on the pair, while we read; so they
 * are read together, and ours is advanced by an atomic add, never a store.
 * The page is shared with Xen alone, and is still not trusted: at most one
 * ring's worth is taken a time.
 *
 * Source: Xen public/hvm/ioreq.h, struct buffered_iopage; common/ioreq.c.
 */

import { RING } from "../spec/xen-ioreq.js";

export interface RingConsumer {
  /** `at`: which slot of the ring the entry begins at, 0 to 510; it has `slots` of them. */
  applyBuffered(
    type: number,
    lo: number,
    width: number,
    dataLo: number,
    dataHi: number,
    at: number,
    slots: number,
  ): void;
  /** The pointer is behind that entry. */
  advanced(): void;
}

const WIDTHS = [1, 2, 4, 8] as const;

export class BufferedRing {
  readonly #pair: BigInt64Array;
  readonly #i32: Int32Array;

  constructor(page: ArrayBuffer) {
    this.#pair = new BigInt64Array(page, 0, 1);
    this.#i32 = new Int32Array(page);
  }

  /**
   * A glance, which allocates nothing. It may be wrong while Xen takes multiples of 511 off both pointers,
   * which it does only when it posts; and then its event comes after.
   */
  get empty(): boolean {
    return this.#i32[RING.readPointer >>> 2] === this.#i32[RING.writePointer >>> 2];
  }

  /** Apply all entries there are, in order; returns how many requests they were. */
  drain(consumer: RingConsumer): number {
    let requests = 0;
    // Entries that arrive meanwhile are taken too, but a producer can't keep us here for ever.
    for (let taken = 0; taken < RING.slotCount; ) {
      const slots = this.#take(consumer);
      if (slots === 0) break;
      taken += slots;
      requests += 1;
    }
    return requests;
  }

  /** Entries between the pointers, or 0 where they make no sense. */
  #pending(): number {
    const pair = Atomics.load(this.#pair, 0);
    const count = Number(BigInt.asUintN(32, (pair >> 32n) - pair));
    return count <= RING.slotCount ? count : 0;
  }

  /** Apply the first entry; returns the slots it took. */
  #take(consumer: RingConsumer): number {
    const slots = this.peek(consumer);
    if (slots === 0) return 0;
    Atomics.add(this.#i32, RING.readPointer >>> 2, slots);
    consumer.advanced();
    return slots;
  }

  /** Look at the first entry, which stays; returns the slots it takes, 0 where there is none. */
  peek(consumer: Pick<RingConsumer, "applyBuffered">): number {
    const pending = this.#pending();
    if (pending === 0) return 0;
    const read = Number(BigInt.asUintN(32, Atomics.load(this.#pair, 0)));
    const [head, data] = this.#slot(read);
    const width = WIDTHS[(head >>> 10) & 3] as number;
    const isDouble = width === 8;
    const at = read % RING.slotCount;
    const slots = isDouble && pending >= 2 ? 2 : 1;
    // The second half is published together with the first; a lone half is a broken ring, and is skipped.
    if (!isDouble) consumer.applyBuffered(head & 0xff, head >>> 12, width, data, 0, at, slots);
    else if (pending >= 2) {
      consumer.applyBuffered(head & 0xff, head >>> 12, width, data, this.#slot(read + 1)[1], at, slots);
    }
    return slots;
  }

  /**
   * Skip what a process before this one applied: `applied` says how many slots of the entry that begins there. Returns
   * whether there was anything to skip.
   */
  resume(applied: (at: number) => number): boolean {
    const read = Number(BigInt.asUintN(32, Atomics.load(this.#pair, 0)));
    const slots = Math.min(applied(read % RING.slotCount), this.#pending());
    if (slots > 0) Atomics.add(this.#i32, RING.readPointer >>> 2, slots);
    return slots > 0;
  }

  #slot(pointer: number): [head: number, data: number] {
    const word = (RING.slots + (pointer % RING.slotCount) * RING.slotSize) >>> 2;
    return [this.#i32[word] as number, this.#i32[word + 1] as number];
  }
}
