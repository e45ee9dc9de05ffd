// SPDX-License-Identifier: MIT
/**
 * Serves requests: takes a READY slot, runs it as a transaction, replies.
 *
 * Order, per request: INPROCESS; the 32 bytes are read once; transaction;
 * commit with the reply; ranges and lines follow; the reply goes to the slot;
 * IORESP_READY and notify; the record is released. A process that dies anywhere
 * in between leaves what the next one needs (docs/architecture.md).
 *
 * This file has the way of an ordinary access; answers.ts what goes back to
 * the vCPU, rep-runs.ts rep requests, host-work.ts what no vCPU waits for.
 *
 * Source: Xen public/hvm/ioreq.h; states as in xen/common/ioreq.c.
 */

import { DATA_IS_PTR, DIR_READ, STATE, STATE_MASK, TYPE } from "../spec/xen-ioreq.js";
import type { Arena } from "../state/arena.js";
import { PHASE } from "../state/format.js";
import { Answers } from "./answers.js";
import type { AccessObserver, Bus } from "./bus.js";
import type { Counters } from "./counters.js";
import { HostWork } from "./host-work.js";
import type { EngineParts, Known } from "./parts.js";
import { RepRuns } from "./rep-runs.js";
import { Slots } from "./slots.js";
import { WideAccess } from "./wide.js";

// The compiler knows a constant of this file; a property of one that is imported it looks up, in every access.
const { pio: PIO, copy: COPY, pciConfig: CONFIG } = TYPE;
const COMMITTED = PHASE.committed;
const READ = DIR_READ;
const IN_MEMORY = DATA_IS_PTR;

export class Engine {
  /** What no vCPU waits for: entries of the buffered ring, and whatever else comes. */
  readonly hostWork: HostWork;
  readonly #parts: EngineParts;
  readonly #arena: Arena;
  readonly #bus: Bus;
  readonly #counters: Counters;
  readonly #slots: Slots;
  readonly #answers: Answers;
  readonly #wide: WideAccess;
  readonly #reps: RepRuns;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#arena = parts.arena;
    this.#bus = parts.bus;
    this.#counters = parts.counters;
    this.#slots = new Slots(parts.page);
    this.#wide = new WideAccess(parts.bus);
    this.#answers = new Answers(parts, this.#slots, (slot) => this.resume(slot));
    this.#reps = new RepRuns(parts, this.#answers, this.#wide);
    this.hostWork = new HostWork(parts, this.#answers, this.#wide);
  }

  get observer(): AccessObserver | null {
    return this.#answers.observer;
  }

  set observer(observer: AccessObserver | null) {
    this.#answers.observer = observer;
  }

  /** Does this vCPU wait for an answer? A glance. */
  isReady(slot: number): boolean {
    return this.#slots.isReady(slot);
  }

  /**
   * Answer one vCPU's request, if it has one. Allocates nothing on its usual way.
   * Returns false when the slot was not READY: a spurious wake-up, not an error.
   */
  serve(slot: number): boolean {
    if (!this.#slots.isReady(slot)) return false;
    const flags = this.#slots.take(slot);
    // Xen posts nothing while an answer is owed. Should a slot be posted all the same, only the new request is answered.
    this.#answers.forget(slot);
    this.#serveInProcess(slot, flags, 0, null);
    return true;
  }

  /**
   * Finish what a process before this one left in a slot; what is READY is left to serve(). Call once for each slot,
   * after Arena.recover() and before anything is served. Returns what was done, or null when there was nothing to do.
   */
  resume(slot: number): "served again" | "answered" | "notified again" | null {
    const { phase, replyLo, replyHi, progress, element } = this.#arena.record(slot);
    const flags = this.#slots.flags(slot);
    const state = flags & STATE_MASK;
    if (state !== STATE.inProcess) {
      // It has its answer, or went on with it already: then this may be its next request.
      if (phase !== PHASE.idle) this.#arena.release(slot);
      if (state !== STATE.respReady) return null;
      this.#parts.notify(slot);
      return "notified again";
    }
    // The late answer of an element that was delivered already is none.
    const isKnown = phase === PHASE.answered && element === progress;
    if (phase === PHASE.committed || (isKnown && !isRep(flags, this.#slots.count(this.#slots.at(slot))))) {
      this.#arena.setProgress(slot, 0);
      this.#answers.reply(slot, replyLo, replyHi, false);
      return "answered";
    }
    this.#serveInProcess(slot, flags, progress, isKnown ? { lo: replyLo, hi: replyHi } : null);
    return "served again";
  }

  /** `done`: elements of a rep request that were served before. `late`: the answer of the next, where it is known. */
  #serveInProcess(slot: number, flags: number, done: number, late: Known | null): void {
    const slots = this.#slots;
    const at = slots.at(slot);
    const type = slots.type(slot);
    const hi = slots.hi(at);
    const lo = slots.lo(at);
    const width = slots.width(at);
    const count = slots.count(at);
    const dataLo = slots.dataLo(at);
    const dataHi = slots.dataHi(at);
    const { observer } = this.#answers;
    if (observer !== null) observer.begin(slot, type, flags, hi, lo, width, count, dataLo, dataHi);

    if (type === COPY) this.#counters.copy += 1;
    else if (type === PIO) this.#counters.pio += 1;
    else if (type === CONFIG) this.#counters.pciConfig += 1;
    else {
      this.#serveOther(slot, type, flags, dataLo, dataHi);
      return;
    }
    if (isRep(flags, count)) {
      this.#reps.serve({ slot, type, flags, hi, lo, width, count, dataLo, dataHi }, done, late);
    } else if (!isWidth(width) || (width === 8 && type === PIO)) {
      this.#answers.malformed(slot, type, width, count);
    } else {
      this.#transact(slot, type, flags, hi, lo, width, dataLo, dataHi);
    }
  }

  /** An ordinary access. */
  #transact(
    slot: number,
    type: number,
    flags: number,
    hi: number,
    lo: number,
    width: number,
    dataLo: number,
    dataHi: number,
  ): void {
    const arena = this.#arena;
    const bus = this.#bus;
    let replyLo = dataLo;
    let replyHi = dataHi;
    arena.begin(slot);
    try {
      if ((flags & READ) === 0) {
        this.#wide.writeAny(type, hi, lo, width, dataLo, dataHi);
      } else if (width !== 8) {
        replyLo = bus.read(type, hi, lo, width);
        replyHi = 0;
        if (width < 4) replyLo &= width === 1 ? 0xff : 0xffff;
      } else {
        replyLo = this.#wide.read(type, hi, lo);
        replyHi = this.#wide.high;
      }
    } catch (error) {
      this.#answers.fail(slot, error);
      return;
    }
    if (bus.access.outstanding > 0) {
      const known = { lo: replyLo, hi: replyHi };
      this.#answers.later(slot, known, (lo, hi) => this.#answers.finish(slot, replyLo | lo, replyHi | hi));
      return;
    }
    arena.commit(COMMITTED, replyLo, replyHi);
    bus.flush();
    this.#answers.reply(slot, replyLo, replyHi, false);
    this.#answers.releaseHeld();
  }

  /** What is no access. */
  #serveOther(slot: number, type: number, flags: number, dataLo: number, dataHi: number): void {
    const { counters, memory } = this.#parts;
    if (type === TYPE.invalidate) {
      counters.invalidate += 1;
      memory.invalidate();
    } else if (type === TYPE.timeoffset) {
      counters.timeoffset += 1;
    } else {
      this.#answers.malformed(slot, type, 0, 0);
      return;
    }
    const read = (flags & DIR_READ) !== 0;
    this.#answers.plainly(slot, read ? -1 : dataLo, read ? -1 : dataHi);
  }

  /** Run work that no vCPU waits for as a transaction. What throws is undone, counted and told. */
  host(work: () => void, subject = 0): void {
    this.hostWork.do(work, subject);
  }

  // -- late answers: see answers.ts -------------------------------------------------------------

  /** vCPUs whose answer is still to come. */
  get waiting(): number {
    return this.#answers.waiting;
  }

  /** Answer whoever still waits with all-ones: nobody may be left hanging when the server goes. */
  abandonLate(): void {
    this.#answers.abandon();
  }
}

const isRep = (flags: number, count: number): boolean => (flags & IN_MEMORY) !== 0 || count !== 1;

const isWidth = (width: number): boolean => width === 4 || width === 1 || width === 2 || width === 8;
