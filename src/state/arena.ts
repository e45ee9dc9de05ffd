// SPDX-License-Identifier: MIT
/**
 * The arena: everything a guest's devices know, in one memory-mapped file.
 *
 * A process that dies leaves the file as it was at that instruction. So every
 * store goes through `setWord`, which first writes the old word to an undo
 * journal in the same file, and a request counts as done only once `commit`
 * has marked its record. Whoever opens the file next can tell, per vCPU,
 * whether to roll back or to finish.
 *
 * Crash consistency here means a killed process, not a power failure: stores
 * that were executed are in the page cache, in program order, and V8 does not
 * reorder or drop stores to typed arrays. So no flush is needed, and Atomics
 * (ten times the price of a store) only where another process looks at once.
 *
 * What lies where in the file is in format.ts.
 */

import { IoreqdError } from "../base/errors.js";
import {
  align,
  capacities,
  fault,
  HEADER,
  MAGIC,
  NO_RESERVE,
  PHASE,
  place,
  RECORD,
  RECORD_COUNT,
  RECORD_WORDS,
  RECORDS_AT,
  type Reserve,
  VERSION,
} from "./format.js";
import { LayoutAreas } from "./layout-areas.js";

export {
  arenaSize,
  HEADER,
  HOST_RECORD,
  MAGIC,
  PHASE,
  RESERVE,
  type Reserve,
  SERVER_STATE,
  VERSION,
} from "./format.js";

export class Arena {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly view: DataView;
  /** Byte offset of the data area, where registers and fields live. */
  readonly dataAt: number;
  readonly dataLength: number;

  readonly #layouts: LayoutAreas;
  readonly #journal: number;
  /** Transaction in which each data word was last recorded; private to this process. */
  readonly #recorded: Uint32Array;
  readonly #dataWord: number;
  #transaction = 1;
  #count = 0;
  #owner = -1;

  private constructor(buffer: ArrayBuffer) {
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.view = new DataView(buffer);
    this.dataAt = this.header("dataAt");
    this.dataLength = this.header("dataLength");
    this.#layouts = new LayoutAreas(buffer);
    this.#journal = this.header("journalAt") >>> 2;
    this.#dataWord = this.dataAt >>> 2;
    this.#recorded = new Uint32Array(align(this.dataLength, 4) >>> 2);
  }

  /**
   * Lay out a new arena in `buffer` (all zeroes, `arenaSize()` bytes).
   * The magic number is written last: a file without it is not an arena.
   */
  static create(buffer: ArrayBuffer, dataLength: number, layout: string, reserve: Reserve = NO_RESERVE): Arena {
    const capacity = capacities(dataLength, layout, reserve);
    const at = place(capacity.dataLength, capacity.layoutCapacity);
    if (buffer.byteLength < at.size) {
      throw new IoreqdError("ARENA_TOO_SMALL", `arena needs ${at.size} bytes, the buffer has ${buffer.byteLength}`, {
        size: at.size,
      });
    }
    const text = Buffer.from(layout);
    const i32 = new Int32Array(buffer);
    for (const [field, value] of Object.entries({ ...at, ...capacity, version: VERSION, layoutLength: text.length })) {
      i32[HEADER[field as keyof typeof HEADER]] = value;
    }
    new Uint8Array(buffer).set(text, at.layoutAt);
    Atomics.store(i32, HEADER.magic, MAGIC);
    return new Arena(buffer);
  }

  /** Look at an arena that another process (or an earlier one) made. Throws ARENA_INVALID. */
  static open(buffer: ArrayBuffer): Arena {
    const i32 = new Int32Array(buffer, 0, RECORDS_AT);
    const wrong = fault(i32, buffer.byteLength);
    if (wrong !== null) throw new IoreqdError("ARENA_INVALID", `not a usable state file: ${wrong}`, {});
    return new Arena(buffer);
  }

  header(field: keyof typeof HEADER): number {
    return Atomics.load(this.i32, HEADER[field]);
  }

  setHeader(field: keyof typeof HEADER, value: number): void {
    Atomics.store(this.i32, HEADER[field], value);
  }

  /** The layout that holds now. Also from another process: if it is changed meanwhile, the new one. */
  layout(): string {
    return this.#layouts.read();
  }

  /**
   * From this transaction's commit on the layout is this one; undone, it is the old one. Once per transaction, as the
   * last thing in it. Throws ARENA_FULL.
   */
  setLayout(layout: string): void {
    const changes = this.#layouts.prepare(layout);
    this.#remember(HEADER.layoutChanges);
    this.setHeader("layoutChanges", changes);
  }

  /** Zeroes where no layout has anything: that is nobody's, so there is nothing to undo. Offsets in the data area. */
  clear(at: number, length: number): void {
    this.u8.fill(0, this.dataAt + at, this.dataAt + at + length);
  }

  // -- transactions ------------------------------------------------------------------------

  /** True while a transaction runs: the only time stores are allowed. */
  get inTransaction(): boolean {
    return this.#owner >= 0;
  }

  /** Start the transaction of a vCPU's request, or of HOST_RECORD. */
  begin(record: number): void {
    const at = RECORDS_AT + record * RECORD_WORDS;
    const i32 = this.i32;
    this.#owner = record;
    this.#count = 0;
    i32[at + RECORD.phase] = PHASE.executing;
  }

  /**
   * Everything stored since begin() becomes true, together with the reply.
   * The phase is the one word that decides: PHASE.committed, or PHASE.deferred
   * when the reply is still to come.
   */
  commit(phase: number, replyLo: number, replyHi: number): void {
    const at = RECORDS_AT + this.#owner * RECORD_WORDS;
    const i32 = this.i32;
    i32[at + RECORD.replyLo] = replyLo;
    i32[at + RECORD.replyHi] = replyHi;
    i32[at + RECORD.phase] = phase;
    this.#close();
  }

  /** Put every word back as begin() found it. The record becomes idle. */
  rollback(): void {
    const owner = this.#owner;
    this.#undo(this.#count);
    this.#close();
    this.release(owner);
  }

  /** The vCPU has its answer: the record holds nothing any more. */
  release(record: number): void {
    const at = RECORDS_AT + record * RECORD_WORDS;
    if (this.i32[at + RECORD.deaths] !== 0) this.i32[at + RECORD.deaths] = 0;
    this.i32[at + RECORD.phase] = PHASE.idle;
  }

  /** A record as another process sees it. */
  record(index: number): { phase: number; deaths: number; replyLo: number; replyHi: number; progress: number } {
    const at = RECORDS_AT + index * RECORD_WORDS;
    const i32 = this.i32;
    return {
      phase: Atomics.load(i32, at + RECORD.phase),
      deaths: i32[at + RECORD.deaths] as number,
      replyLo: i32[at + RECORD.replyLo] as number,
      replyHi: i32[at + RECORD.replyHi] as number,
      progress: i32[at + RECORD.progress] as number,
    };
  }

  /** How many elements of a rep request are done: kept with a deferred record. */
  setProgress(record: number, elements: number): void {
    this.i32[RECORDS_AT + record * RECORD_WORDS + RECORD.progress] = elements;
  }

  /**
   * Undo what a dead process left half done: its executing transaction, if any.
   * Returns the record it belonged to, or -1. Call once, before anything else.
   */
  recover(): number {
    const owner = Array.from({ length: RECORD_COUNT }, (_, record) => record).find(
      (record) => this.record(record).phase === PHASE.executing,
    );
    // Without one the journal is that of a transaction that was committed: nothing to undo.
    if (owner !== undefined) {
      this.#undo(this.header("journalCount"));
      const at = RECORDS_AT + owner * RECORD_WORDS;
      this.i32[at + RECORD.deaths] = (this.i32[at + RECORD.deaths] as number) + 1;
      this.i32[at + RECORD.phase] = PHASE.idle;
    }
    this.#close();
    return owner ?? -1;
  }

  /** Store one word (index of 32-bit words in the file), keeping the old one for undo. */
  setWord(word: number, value: number): void {
    const index = word - this.#dataWord;
    if (this.#recorded[index] !== this.#transaction) this.#record(word, index);
    this.i32[word] = value;
  }

  /**
   * Store one word for good, between transactions: what the hypervisor has been told already can't be undone.
   */
  settle(word: number, value: number): void {
    this.i32[word] = value;
  }

  #record(word: number, index: number): void {
    this.#remember(word);
    this.#recorded[index] = this.#transaction;
  }

  /** Append a word to the journal, as it is now. */
  #remember(word: number): void {
    if (this.#owner < 0) {
      throw new IoreqdError("STORE_OUTSIDE_TRANSACTION", "device state was changed outside a handler; use host()", {});
    }
    const entry = this.#journal + this.#count * 2;
    this.i32[entry] = word;
    this.i32[entry + 1] = this.i32[word] as number;
    this.#count += 1;
    this.i32[HEADER.journalCount] = this.#count;
  }

  #undo(count: number): void {
    for (let entry = this.#journal + (count - 1) * 2; entry >= this.#journal; entry -= 2) {
      this.i32[this.i32[entry] as number] = this.i32[entry + 1] as number;
    }
  }

  #close(): void {
    this.#owner = -1;
    this.#count = 0;
    this.i32[HEADER.journalCount] = 0;
    this.#transaction += 1;
    if (this.#transaction === 0xffff_ffff) {
      this.#recorded.fill(0);
      this.#transaction = 1;
    }
  }

  // -- stores of other widths, all through setWord ------------------------------------------

  /** Store the low `width` (1, 2, 4) bytes of `value` at byte `at`, little-endian, any alignment. */
  store(at: number, width: number, value: number): void {
    const bit = (at & 3) * 8;
    const word = at >>> 2;
    if (width === 4 && bit === 0) {
      this.setWord(word, value);
      return;
    }
    const bits = width * 8;
    const mask = width === 4 ? -1 : (1 << bits) - 1;
    const low = this.i32[word] as number;
    this.setWord(word, (low & ~(mask << bit)) | ((value & mask) << bit));
    if (bit + bits > 32) {
      const done = 32 - bit;
      const high = this.i32[word + 1] as number;
      this.setWord(word + 1, (high & ~(mask >>> done)) | ((value & mask) >>> done));
    }
  }

  /** Load `width` bytes (1, 2: unsigned; 4: signed) at byte `at`, little-endian. */
  load(at: number, width: number): number {
    if (width === 4) return this.view.getInt32(at, true);
    return width === 2 ? this.view.getUint16(at, true) : (this.u8[at] as number);
  }
}
