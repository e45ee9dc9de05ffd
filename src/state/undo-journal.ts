// SPDX-License-Identifier: MIT
/**
 * The undo journal of the arena's file: the old value of each word that the
 * transaction under way has changed, written before the word itself is.
 */

import { IoreqdError } from "../base/errors.js";
import { align, HEADER } from "./format.js";

// The compiler knows a constant of this file; a property of one that is imported it looks up, in every transaction.
const COUNT = HEADER.journalCount;
const TRANSACTION = HEADER.transaction;
/** `#count` while no transaction is under way. */
const CLOSED = -1;

export class UndoJournal {
  readonly #i32: Int32Array;
  /** Index of the first word of the journal, and of the data. */
  readonly #at: number;
  readonly #data: number;
  /** Transaction in which each data word was last recorded; private to this process. */
  readonly #recorded: Uint32Array;
  #transaction = 1;
  #count = CLOSED;

  constructor(i32: Int32Array) {
    this.#i32 = i32;
    this.#at = (i32[HEADER.journalAt] as number) >>> 2;
    this.#data = (i32[HEADER.dataAt] as number) >>> 2;
    this.#recorded = new Uint32Array(align(i32[HEADER.dataLength] as number, 4) >>> 2);
  }

  /** A transaction begins. */
  open(): void {
    this.#count = 0;
    this.#i32[TRANSACTION] = this.#transaction;
  }

  /** Before a word of the data (index of 32-bit words in the file) is stored to. Once per transaction it is recorded. */
  keep(word: number): void {
    const index = word - this.#data;
    if (this.#recorded[index] === this.#transaction) return;
    this.append(word);
    this.#recorded[index] = this.#transaction;
  }

  /** Record a word as it is now, wherever in the file it lies. Throws STORE_OUTSIDE_TRANSACTION. */
  append(word: number): void {
    const count = this.#count;
    if (count === CLOSED) refuseStore();
    const entry = this.#at + count * 2;
    const i32 = this.#i32;
    i32[entry] = word;
    i32[entry + 1] = i32[word] as number;
    this.#count = count + 1;
    i32[COUNT] = count + 1;
  }

  /** Put back what this process recorded, the last first. */
  undo(): void {
    this.undoFirst(this.#count);
  }

  /** Put back the first `count` words recorded: what a process before this one left. */
  undoFirst(count: number): void {
    const i32 = this.#i32;
    for (let entry = this.#at + (count - 1) * 2; entry >= this.#at; entry -= 2) {
      i32[i32[entry] as number] = i32[entry + 1] as number;
    }
  }

  /** The transaction has ended, one way or the other. */
  close(): void {
    this.#count = CLOSED;
    this.#i32[COUNT] = 0;
    this.#transaction += 1;
    if (this.#transaction === 0xffff_ffff) this.#startCounting();
  }

  #startCounting(): void {
    this.#recorded.fill(0);
    this.#transaction = 1;
  }
}

function refuseStore(): never {
  throw new IoreqdError("STORE_OUTSIDE_TRANSACTION", "device state was changed outside a handler; use host()", {});
}
