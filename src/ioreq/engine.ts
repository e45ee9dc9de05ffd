// SPDX-License-Identifier: MIT
/**
 * Serves requests: takes a READY slot, runs it as a transaction, replies.
 *
 * Order, per request: INPROCESS; the 32 bytes are read once; transaction;
 * commit with the reply; ranges and lines follow; the reply goes to the slot;
 * IORESP_READY and notify; the record is released. A process that dies anywhere
 * in between leaves what the next one needs (docs/architecture.md).
 *
 * Source: Xen public/hvm/ioreq.h; states as in xen/common/ioreq.c.
 */

import { messageOf } from "../base/errors.js";
import { DATA_IS_PTR, DIR_READ, IOREQ, STATE, STATE_MASK, TYPE, WORD } from "../spec/xen-ioreq.js";
import { type Arena, HOST_RECORD, PHASE } from "../state/arena.js";
import type { AccessObserver, Bus, GuestEvent, GuestMemory } from "./bus.js";
import type { Counters } from "./counters.js";
import { RepRequest } from "./rep.js";

export interface EngineParts {
  /** struct shared_iopage. */
  readonly page: ArrayBuffer;
  readonly arena: Arena;
  readonly bus: Bus;
  readonly memory: GuestMemory;
  readonly counters: Counters;
  /** Store IORESP_READY in the slot and notify its vCPU. */
  readonly publish: (slot: number) => void;
  readonly notify: (slot: number) => void;
  readonly guestEvent: GuestEvent;
}

/** Bits of an answer, as two int32. */
interface Known {
  readonly lo: number;
  readonly hi: number;
}

export class Engine {
  readonly #u8: Uint8Array;
  readonly #i32: Int32Array;
  readonly #arena: Arena;
  readonly #bus: Bus;
  readonly #memory: GuestMemory;
  readonly #counters: Counters;
  readonly #publish: (slot: number) => void;
  readonly #notify: (slot: number) => void;
  readonly #guestEvent: GuestEvent;
  /** Answers that came while a transaction ran; they go out once it is committed. */
  readonly #held: Array<() => void> = [];
  /** Slots whose answer is still to come, each with a token: an answer to an older request is no answer. */
  readonly #late = new Map<number, symbol>();
  observer: AccessObserver | null = null;

  constructor(parts: EngineParts) {
    this.#u8 = new Uint8Array(parts.page);
    this.#i32 = new Int32Array(parts.page);
    this.#arena = parts.arena;
    this.#bus = parts.bus;
    this.#memory = parts.memory;
    this.#counters = parts.counters;
    this.#publish = parts.publish;
    this.#notify = parts.notify;
    this.#guestEvent = parts.guestEvent;
  }

  /** Does this vCPU wait for an answer? A glance. */
  isReady(slot: number): boolean {
    return ((this.#u8[slot * IOREQ.size + IOREQ.flags] as number) & STATE_MASK) === STATE.ready;
  }

  /**
   * Answer one vCPU's request, if it has one. Allocates nothing on its usual way.
   * Returns false when the slot was not READY: a spurious wake-up, not an error.
   */
  serve(slot: number): boolean {
    if (!this.isReady(slot)) return false;
    const byte = slot * IOREQ.size;
    // The glance was cheap; this one makes sure that the fields are read after the state.
    const flags = Atomics.load(this.#u8, byte + IOREQ.flags);
    // From READY to IORESP_READY the slot is ours, flags and all. Nobody waits for this state: it is
    // for the process that may have to take over, so an ordinary store will do.
    this.#u8[byte + IOREQ.flags] = (flags & ~STATE_MASK) | STATE.inProcess;
    // Xen posts nothing while an answer is owed. Should a slot be posted all the same, only the new request is answered.
    if (this.#late.size > 0) this.#late.delete(slot);
    this.#serveInProcess(slot, flags, 0, null);
    return true;
  }

  /**
   * Finish what a process before this one left in a slot; what is READY is left to serve(). Call once for each slot,
   * after Arena.recover() and before anything is served. Returns what was done, or null when there was nothing to do.
   */
  resume(slot: number): "served again" | "answered" | "notified again" | null {
    const { phase, replyLo, replyHi, progress, element } = this.#arena.record(slot);
    const flags = Atomics.load(this.#u8, slot * IOREQ.size + IOREQ.flags);
    const state = flags & STATE_MASK;
    if (state !== STATE.inProcess) {
      // It has its answer, or went on with it already: then this may be its next request.
      if (phase !== PHASE.idle) this.#arena.release(slot);
      if (state !== STATE.respReady) return null;
      this.#notify(slot);
      return "notified again";
    }
    // The late answer of an element that was delivered already is none.
    const isKnown = phase === PHASE.answered && element === progress;
    if (
      phase === PHASE.committed ||
      (isKnown && !isRep(flags, this.#i32[slot * WORD.perSlot + WORD.count] as number))
    ) {
      this.#arena.setProgress(slot, 0);
      this.#reply(slot, replyLo, replyHi, false);
      return "answered";
    }
    this.#serveInProcess(slot, flags, progress, isKnown ? { lo: replyLo, hi: replyHi } : null);
    return "served again";
  }

  /** `done`: elements of a rep request that were served before. `late`: the answer of the next, where it is known. */
  #serveInProcess(slot: number, flags: number, done: number, late: Known | null): void {
    const byte = slot * IOREQ.size;
    const i32 = this.#i32;
    const word = slot * WORD.perSlot;
    const type = this.#u8[byte + IOREQ.type] as number;
    const hi = i32[word + WORD.addrHi] as number;
    const lo = i32[word + WORD.addrLo] as number;
    const width = i32[word + WORD.width] as number;
    const count = i32[word + WORD.count] as number;
    const dataLo = i32[word + WORD.dataLo] as number;
    const dataHi = i32[word + WORD.dataHi] as number;
    if (this.observer !== null) this.observer.begin(slot, type, flags, hi, lo, width, count, dataLo, dataHi);

    if (type === TYPE.copy) this.#counters.copy += 1;
    else if (type === TYPE.pio) this.#counters.pio += 1;
    else if (type === TYPE.pciConfig) this.#counters.pciConfig += 1;
    else {
      this.#serveOther(slot, type, flags);
      return;
    }
    if (isRep(flags, count)) {
      this.#serveRep(new RepRequest({ slot, type, flags, hi, lo, width, count, dataLo, dataHi }, done), late);
    } else if (!isWidth(width) || (width === 8 && type === TYPE.pio)) {
      this.#malformed(slot, type, width, count);
    } else {
      this.#transact(slot, type, flags, hi, lo, width, dataLo, dataHi);
    }
  }

  /**
   * Apply one entry of the buffered ring: always a write, nobody waits. It begins at slot `at` of the ring and has
   * `slots` of them. Call `advanced` once the ring's pointer is behind it.
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
    this.#counters.buffered += 1;
    if (this.observer !== null) this.observer.begin(-1, type, 0, 0, lo, width, 1, dataLo, dataHi);
    if (type === TYPE.timeoffset) {
      this.#counters.timeoffset += 1;
    } else if (type === TYPE.copy || type === TYPE.pio) {
      this.#arena.beginHost(0, at, slots);
      this.#runHost(() => this.#write(type, 0, lo, width, dataLo, dataHi));
      // A register that finishes later has nobody waiting for it, least of all the next request.
      this.#bus.access.begin();
    } else {
      this.#counters.malformed += 1;
    }
    if (this.observer !== null) this.observer.end(-1, 0, 0, false);
  }

  /** The entry that was applied is out of the ring. */
  advanced(): void {
    this.#arena.release(HOST_RECORD);
  }

  /** Was this entry, the next in the ring, applied by a process that died before it moved the pointer? */
  wasApplied(at: number): number {
    const { phase, ringAt, ringSlots } = this.#arena.record(HOST_RECORD);
    return phase === PHASE.committed && ringAt === at ? ringSlots : 0;
  }

  /**
   * Run work that no vCPU waits for as a transaction. What throws is undone, counted and told. `subject`: whose work it
   * is, should it be the last that this process does.
   */
  host(work: () => void, subject = 0): void {
    if (this.#arena.inTransaction) {
      work();
      return;
    }
    this.#arena.beginHost(subject);
    this.#runHost(work);
    this.#arena.release(HOST_RECORD);
  }

  #runHost(work: () => void): void {
    try {
      work();
      this.#arena.commit(PHASE.committed, 0, 0);
    } catch (error) {
      this.#arena.rollback();
      this.#threw(error);
    }
    this.#bus.flush();
    this.#releaseHeld();
  }

  /** vCPUs whose answer is still to come. */
  get waiting(): number {
    return this.#late.size;
  }

  /** Answer whoever still waits with all-ones: nobody may be left hanging when the server goes. */
  abandonLate(): void {
    for (const slot of [...this.#late.keys()]) this.#finish(slot, -1, -1);
  }

  // -- an ordinary access ---------------------------------------------------------------------

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
      if ((flags & DIR_READ) === 0) {
        this.#write(type, hi, lo, width, dataLo, dataHi);
      } else if (width !== 8) {
        replyLo = bus.read(type, hi, lo, width);
        replyHi = 0;
        if (width < 4) replyLo &= width === 1 ? 0xff : 0xffff;
      } else {
        replyLo = this.#read8(type, hi, lo);
        replyHi = this.#high;
      }
    } catch (error) {
      this.#fail(slot, error);
      return;
    }
    if (bus.access.outstanding > 0) {
      const known = { lo: replyLo, hi: replyHi };
      this.#answerLater(slot, (lo, hi) => this.#finish(slot, replyLo | lo, replyHi | hi), known);
      return;
    }
    arena.commit(PHASE.committed, replyLo, replyHi);
    bus.flush();
    this.#reply(slot, replyLo, replyHi, false);
    if (this.#held.length > 0) this.#releaseHeld();
  }

  /** High half of the last 8-byte read. A field, because two int32 can't be returned without allocating. */
  #high = 0;

  #read8(type: number, hi: number, lo: number): number {
    const bus = this.#bus;
    this.#high = -1;
    if (!bus.accepts8(type, hi, lo)) return -1;
    const low = bus.read(type, hi, lo, 4);
    bus.access.position = 4;
    this.#high = bus.read(type, carry(type, hi, lo), (lo + 4) | 0, 4);
    bus.access.position = 0;
    return low;
  }

  #write(type: number, hi: number, lo: number, width: number, dataLo: number, dataHi: number): void {
    const bus = this.#bus;
    if (width !== 8) {
      bus.write(type, hi, lo, width, dataLo);
    } else if (bus.accepts8(type, hi, lo)) {
      bus.write(type, hi, lo, 4, dataLo);
      bus.write(type, carry(type, hi, lo), (lo + 4) | 0, 4, dataHi);
    }
  }

  // -- the rest: rare, and allowed to be slow -------------------------------------------------

  #serveRep(rep: RepRequest, late: Known | null): void {
    const { slot, type, width, count } = rep.request;
    if (!rep.valid) {
      this.#malformed(slot, type, width, count);
      return;
    }
    if (late !== null) this.#resolve(rep, late.lo, late.hi);
    this.#continueRep(rep);
  }

  /** The element that was outstanding is done. In this order: delivered twice it is the same, asked for twice it is not. */
  #resolve(rep: RepRequest, lo: number, hi: number): void {
    rep.resolve(lo, hi, this.#memory, this.#counters);
    this.#arena.setProgress(rep.request.slot, rep.done);
  }

  /** Run a rep request to its end, or to the element whose answer comes later. One transaction a run. */
  #continueRep(rep: RepRequest): void {
    while (this.#runRep(rep)) {
      // The element was answered at once after all: the next run goes on behind it.
    }
  }

  /** Returns true when there is more to run now. */
  #runRep(rep: RepRequest): boolean {
    const { slot } = rep.request;
    this.#arena.begin(slot);
    try {
      rep.run(this.#bus, this.#memory, this.#counters);
    } catch (error) {
      this.#fail(slot, error);
      return false;
    }
    if (this.#bus.access.outstanding === 0) {
      this.#arena.commit(PHASE.committed, rep.replyLo, rep.replyHi);
      // Only while a rep request runs does a record tell of progress.
      this.#arena.setProgress(slot, 0);
      this.#bus.flush();
      this.#reply(slot, rep.replyLo, rep.replyHi, false);
      this.#releaseHeld();
      return false;
    }
    this.#arena.setProgress(slot, rep.done);
    let within = true;
    let answered = false;
    this.#answerLater(
      slot,
      (lo, hi) => {
        this.#resolve(rep, lo, hi);
        this.#late.delete(slot);
        if (within) answered = true;
        else this.#continueRep(rep);
      },
      rep.known,
    );
    within = false;
    return answered;
  }

  #serveOther(slot: number, type: number, flags: number): void {
    if (type === TYPE.invalidate) {
      this.#counters.invalidate += 1;
      this.#memory.invalidate();
    } else if (type === TYPE.timeoffset) {
      this.#counters.timeoffset += 1;
    } else {
      this.#malformed(slot, type, 0, 0);
      return;
    }
    const word = slot * WORD.perSlot;
    const read = (flags & DIR_READ) !== 0;
    const lo = read ? -1 : (this.#i32[word + WORD.dataLo] as number);
    const hi = read ? -1 : (this.#i32[word + WORD.dataHi] as number);
    this.#answerPlainly(slot, lo, hi);
  }

  #malformed(slot: number, type: number, width: number, count: number): void {
    this.#counters.malformed += 1;
    this.#guestEvent("malformed request", { vcpu: slot, type, width, count: count >>> 0 });
    this.#answerPlainly(slot, -1, -1);
  }

  /** A reply that changed nothing, recorded like any other. */
  #answerPlainly(slot: number, lo: number, hi: number): void {
    this.#arena.conclude(slot, lo, hi);
    this.#reply(slot, lo, hi, false);
  }

  #fail(slot: number, error: unknown): void {
    this.#arena.rollback();
    this.#bus.access.begin();
    this.#bus.access.position = 0;
    this.#threw(error);
    this.#bus.flush();
    this.#answerPlainly(slot, -1, -1);
    this.#releaseHeld();
  }

  #threw(error: unknown): void {
    this.#counters.handlerErrors += 1;
    this.#guestEvent("device handler failed", {
      error: messageOf(error),
      stack: error instanceof Error ? error.stack : undefined,
    });
  }

  // -- answers --------------------------------------------------------------------------------

  /** `known`: what of the answer is there already; the late part completes it. */
  #answerLater(slot: number, done: (lo: number, hi: number) => void, known: Known): void {
    this.#counters.deferred += 1;
    const token = Symbol("late");
    this.#late.set(slot, token);
    const arena = this.#arena;
    arena.commit(PHASE.deferred, known.lo, known.hi);
    this.#bus.flush();
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
    this.#bus.access.take(answered, () => {
      if (this.#late.get(slot) !== token) return;
      this.#late.delete(slot);
      this.resume(slot);
    });
    this.#releaseHeld();
  }

  #releaseHeld(): void {
    for (let next = this.#held.shift(); next !== undefined; next = this.#held.shift()) next();
  }

  #finish(slot: number, lo: number, hi: number): void {
    if (!this.#late.delete(slot)) return;
    this.#arena.conclude(slot, lo, hi);
    this.#reply(slot, lo, hi, true);
  }

  #reply(slot: number, lo: number, hi: number, later: boolean): void {
    const word = slot * WORD.perSlot;
    this.#i32[word + WORD.dataLo] = lo;
    this.#i32[word + WORD.dataHi] = hi;
    this.#publish(slot);
    this.#arena.release(slot);
    if (this.observer !== null) this.observer.end(slot, lo, hi, later);
  }
}

const isRep = (flags: number, count: number): boolean => (flags & DATA_IS_PTR) !== 0 || count !== 1;

const isWidth = (width: number): boolean => width === 4 || width === 1 || width === 2 || width === 8;

/** High word of the address 4 further on. Configuration offsets don't carry into the SBDF. */
const carry = (type: number, hi: number, lo: number): number =>
  type !== TYPE.pciConfig && lo >>> 0 > 0xffff_fffb ? (hi + 1) | 0 : hi;
