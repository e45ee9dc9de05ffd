// SPDX-License-Identifier: MIT
/**
 * What goes back to a vCPU: at once, or later, once a device has the answer.
 *
 * An answer is recorded before it goes to the slot, and the record is released
 * when the vCPU has it. Late answers that come while a transaction runs are
 * held until that one is committed, and recorded with it.
 */

import { messageOf } from "../base/errors.js";
import { PHASE } from "../state/format.js";
import type { AccessObserver } from "./bus.js";
import type { EngineParts, Known } from "./parts.js";
import type { Slots } from "./slots.js";

export class Answers {
  observer: AccessObserver | null = null;
  readonly #parts: EngineParts;
  readonly #arena: EngineParts["arena"];
  readonly #slots: Slots;
  readonly #publish: (slot: number) => void;
  /** Serve this slot once more: who owed its answer has been replaced. */
  readonly #again: (slot: number) => void;
  /** Answers that came while a transaction ran; they go out once it is committed. */
  readonly #held: Array<() => void> = [];
  /** Slots whose answer is still to come, each with a token: an answer to an older request is no answer. */
  readonly #late = new Map<number, symbol>();

  constructor(parts: EngineParts, slots: Slots, again: (slot: number) => void) {
    this.#parts = parts;
    this.#arena = parts.arena;
    this.#slots = slots;
    this.#publish = parts.publish;
    this.#again = again;
  }

  /** Give an answer that the record has. `later`: not at once. */
  reply(slot: number, lo: number, hi: number, later: boolean): void {
    const slots = this.#slots;
    slots.setData(slots.at(slot), lo, hi);
    this.#publish(slot);
    this.#arena.release(slot);
    if (this.observer !== null) this.observer.end(slot, lo, hi, later);
  }

  /** An answer that changed nothing, recorded like any other. */
  plainly(slot: number, lo: number, hi: number): void {
    this.#arena.conclude(slot, lo, hi);
    this.reply(slot, lo, hi, false);
  }

  /** A request that no sound Xen makes: all-ones. */
  malformed(slot: number, type: number, width: number, count: number): void {
    this.#parts.counters.malformed += 1;
    this.#parts.guestEvent("malformed request", { vcpu: slot, type, width, count: count >>> 0 });
    this.plainly(slot, -1, -1);
  }

  /** A handler threw in this slot's transaction: nothing of it is left, and the vCPU reads all-ones. */
  fail(slot: number, error: unknown): void {
    const { bus } = this.#parts;
    this.undo(error);
    bus.access.begin();
    bus.access.position = 0;
    bus.flush();
    this.plainly(slot, -1, -1);
    this.releaseHeld();
  }

  /** Undo the transaction under way, count what was thrown in it, and tell. */
  undo(error: unknown): void {
    const { arena, counters, guestEvent } = this.#parts;
    arena.rollback();
    counters.handlerErrors += 1;
    guestEvent("device handler failed", {
      error: messageOf(error),
      stack: error instanceof Error ? error.stack : undefined,
    });
  }

  // -- late ones --------------------------------------------------------------------------------

  /** vCPUs whose answer is still to come. */
  get waiting(): number {
    return this.#late.size;
  }

  /**
   * Commit the transaction of this slot, whose answer is still to come. `known`: what of it is there already; the late
   * part completes it, and `done` gets that part.
   */
  later(slot: number, known: Known, done: (lo: number, hi: number) => void): void {
    const { bus, counters } = this.#parts;
    counters.deferred += 1;
    const token = Symbol("late");
    this.#late.set(slot, token);
    const arena = this.#arena;
    arena.commit(PHASE.deferred, known.lo, known.hi);
    bus.flush();
    const answered = (lateLo: number, lateHi: number): void => {
      if (this.#late.get(slot) !== token) return;
      if (!arena.inTransaction) {
        done(lateLo, lateHi);
        return;
      }
      // A device may answer in the middle of a transaction of its own: that one comes first, and the answer with it.
      const owner = arena.answer(slot, known.lo | lateLo, known.hi | lateHi);
      this.#held.push(() => {
        done(lateLo, lateHi);
        arena.answered(owner, slot);
      });
    };
    bus.access.take(answered, () => {
      if (this.#late.get(slot) !== token) return;
      this.#late.delete(slot);
      this.#again(slot);
    });
    this.releaseHeld();
  }

  /** The whole of a late answer is there. */
  finish(slot: number, lo: number, hi: number): void {
    if (!this.#late.delete(slot)) return;
    this.#arena.conclude(slot, lo, hi);
    this.reply(slot, lo, hi, true);
  }

  /** Nobody waits for this slot's answer any more. */
  forget(slot: number): void {
    if (this.#late.size > 0) this.#late.delete(slot);
  }

  /** Answer whoever still waits with all-ones: nobody may be left hanging when the server goes. */
  abandon(): void {
    for (const slot of [...this.#late.keys()]) this.finish(slot, -1, -1);
  }

  /** What was held while a transaction ran goes out: after its commit. */
  releaseHeld(): void {
    if (this.#held.length > 0) this.#giveHeld();
  }

  #giveHeld(): void {
    for (let next = this.#held.shift(); next !== undefined; next = this.#held.shift()) next();
  }
}
