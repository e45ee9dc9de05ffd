// SPDX-License-Identifier: MIT
/** Work that no vCPU waits for, as transactions of a record of its own: entries of the buffered ring, timers, bytes from outside. */

import { TYPE } from "../spec/xen-ioreq.js";
import { HOST_RECORD, PHASE } from "../state/format.js";
import type { Answers } from "./answers.js";
import type { EngineParts } from "./parts.js";
import type { RingConsumer } from "./ring.js";
import type { WideAccess } from "./wide.js";

/** Instead of a slot: an access of the buffered ring, for observers. */
const NO_SLOT = -1;

export class HostWork implements RingConsumer {
  readonly #parts: EngineParts;
  readonly #answers: Answers;
  readonly #wide: WideAccess;

  constructor(parts: EngineParts, answers: Answers, wide: WideAccess) {
    this.#parts = parts;
    this.#answers = answers;
    this.#wide = wide;
  }

  /**
   * Apply one entry of the buffered ring: always a write. It begins at slot `at` of the ring and has `slots` of them.
   * Call `advanced` once the ring's pointer is behind it.
   * Source: Xen public/hvm/ioreq.h, struct buf_ioreq.
   */
  applyBuffered(
    type: number,
    lo: number,
    width: number,
    dataLo: number,
    dataHi: number,
    at: number,
    slots: number,
  ): void {
    const { arena, bus, counters } = this.#parts;
    const { observer } = this.#answers;
    counters.buffered += 1;
    if (observer !== null) observer.begin(NO_SLOT, type, 0, 0, lo, width, 1, dataLo, dataHi);
    if (type === TYPE.timeoffset) {
      counters.timeoffset += 1;
    } else if (type === TYPE.copy || type === TYPE.pio) {
      arena.beginHost(0, at, slots);
      this.#run(() => this.#wide.writeAny(type, 0, lo, width, dataLo, dataHi));
      // A register that finishes later has nobody waiting for it, least of all the next request.
      bus.access.begin();
    } else {
      counters.malformed += 1;
    }
    if (observer !== null) observer.end(NO_SLOT, 0, 0, false);
  }

  /** The entry that was applied is out of the ring. */
  advanced(): void {
    this.#parts.arena.release(HOST_RECORD);
  }

  /** Was this entry, the next in the ring, applied by a process that died before it moved the pointer? */
  wasApplied(at: number): number {
    const { phase, ringAt, ringSlots } = this.#parts.arena.record(HOST_RECORD);
    return phase === PHASE.committed && ringAt === at ? ringSlots : 0;
  }

  /** What throws is undone, counted and told. `subject`: whose work it is, should it be the last that this process does. */
  do(work: () => void, subject: number): void {
    const { arena } = this.#parts;
    if (arena.inTransaction) {
      work();
      return;
    }
    arena.beginHost(subject);
    this.#run(work);
    arena.release(HOST_RECORD);
  }

  #run(work: () => void): void {
    const { arena, bus } = this.#parts;
    try {
      work();
      arena.commit(PHASE.committed, 0, 0);
    } catch (error) {
      this.#answers.undo(error);
    }
    bus.flush();
    this.#answers.releaseHeld();
  }
}
