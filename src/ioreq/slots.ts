// SPDX-License-Identifier: MIT
/**
 * The page of slots, one per vCPU, by the names of its fields. Values as the
 * engine has them: int32, and no heap object but where it says so.
 *
 * Source: Xen public/hvm/ioreq.h, struct ioreq.
 */

import { IOREQ, STATE, STATE_MASK, WORD } from "../spec/xen-ioreq.js";
import type { RawRequest } from "./rep.js";

// The compiler knows a constant of this file; a property of one that is imported it looks up, in every access.
const { ready: READY, inProcess: IN_PROCESS, respReady: ANSWERED } = STATE;
const { size: SIZE, flags: FLAGS, type: TYPE_BYTE } = IOREQ;
const { perSlot: WORDS, addrLo: ADDR_LO, addrHi: ADDR_HI, dataLo: DATA_LO, dataHi: DATA_HI } = WORD;
const { count: COUNT, width: WIDTH, evtchn: EVTCHN } = WORD;
const IN_STATE = STATE_MASK;

export class Slots {
  readonly #u8: Uint8Array;
  readonly #i32: Int32Array;

  /** `page`: struct shared_iopage. */
  constructor(page: ArrayBuffer) {
    this.#u8 = new Uint8Array(page);
    this.#i32 = new Int32Array(page);
  }

  /** Does this vCPU wait for an answer, with nobody at it? A glance. */
  isReady(slot: number): boolean {
    return ((this.#u8[slot * SIZE + FLAGS] as number) & IN_STATE) === READY;
  }

  /** Has this vCPU an answer that it has not taken yet? */
  isAnswered(slot: number): boolean {
    return (this.flags(slot) & IN_STATE) === ANSWERED;
  }

  /** State and flags. What is read after this was stored before the state was. */
  flags(slot: number): number {
    return Atomics.load(this.#u8, slot * SIZE + FLAGS);
  }

  /**
   * READY becomes INPROCESS; returns what the flags were. From READY to IORESP_READY the slot is ours, flags and all.
   * Nobody waits for this state: it is for the process that may have to take over, so an ordinary store will do.
   */
  take(slot: number): number {
    const flags = this.flags(slot);
    this.#u8[slot * SIZE + FLAGS] = (flags & ~IN_STATE) | IN_PROCESS;
    return flags;
  }

  type(slot: number): number {
    return this.#u8[slot * SIZE + TYPE_BYTE] as number;
  }

  /** Where the words of a slot begin, for those below. */
  at(slot: number): number {
    return slot * WORDS;
  }

  hi(at: number): number {
    return this.#i32[at + ADDR_HI] as number;
  }

  lo(at: number): number {
    return this.#i32[at + ADDR_LO] as number;
  }

  width(at: number): number {
    return this.#i32[at + WIDTH] as number;
  }

  count(at: number): number {
    return this.#i32[at + COUNT] as number;
  }

  dataLo(at: number): number {
    return this.#i32[at + DATA_LO] as number;
  }

  dataHi(at: number): number {
    return this.#i32[at + DATA_HI] as number;
  }

  /** The vCPU's event channel, on the domain's side. */
  evtchn(slot: number): number {
    return (this.#i32[slot * WORDS + EVTCHN] as number) >>> 0;
  }

  /** All of it. Allocates. */
  request(slot: number, flags: number): RawRequest {
    const at = this.at(slot);
    return {
      slot,
      type: this.type(slot),
      flags,
      hi: this.hi(at),
      lo: this.lo(at),
      width: this.width(at),
      count: this.count(at),
      dataLo: this.dataLo(at),
      dataHi: this.dataHi(at),
    };
  }

  setData(at: number, lo: number, hi: number): void {
    this.#i32[at + DATA_LO] = lo;
    this.#i32[at + DATA_HI] = hi;
  }
}
