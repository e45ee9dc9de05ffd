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
  ANSWER_WORDS,
  align,
  capacities,
  fault,
  HEADER,
  HOST_RECORD,
  journalFault,
  MAGIC,
  NO_RESERVE,
  PHASE,
  place,
  RECORD,
  RECORD_COUNT,
  RECORD_WORDS,
  RECORDS_AT,
  type Reserve,
  UUID_WORDS,
  VERSION,
} from "./format.js";
import { LayoutAreas } from "./layout-areas.js";
import { Ledger } from "./ledger.js";

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
  /** What the hypervisor was asked for. */
  readonly ledger: Ledger;

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
    this.ledger = new Ledger(this.i32, this.header("ledgerAt"));
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
    refuse(fault(buffer));
    return new Arena(buffer);
  }

  header(field: keyof typeof HEADER): number {
    return Atomics.load(this.i32, HEADER[field]);
  }

  setHeader(field: keyof typeof HEADER, value: number): void {
    Atomics.store(this.i32, HEADER[field], value);
  }

  /** The domain's uuid, "" where nobody could tell. */
  get uuid(): string {
    const bytes = Buffer.from(this.u8.buffer, HEADER.uuid * 4, UUID_WORDS * 4);
    if (bytes.every((byte) => byte === 0)) return "";
    return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }

  set uuid(value: string) {
    this.u8.set(Buffer.alloc(UUID_WORDS * 4, value.replaceAll("-", ""), "hex"), HEADER.uuid * 4);
  }

  /** The layout that holds now. Also from another process: if it is changed meanwhile, the new one. */
  layout(): string {
    return this.#layouts.read();
  }

  /** Throws ARENA_FULL where there is no room for this layout. */
  checkLayout(layout: string): void {
    this.#layouts.check(Buffer.byteLength(layout));
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

  /** Start the transaction of a vCPU's request. */
  begin(record: number): void {
    this.#owner = record;
    this.#count = 0;
    this.i32[HEADER.transaction] = this.#transaction;
    this.i32[RECORDS_AT + record * RECORD_WORDS + RECORD.phase] = PHASE.executing;
  }

  /**
   * Start the transaction of work that no vCPU waits for. `subject`: whose, 0 for nobody's. For an entry of the buffered
   * ring: its first slot there, and how many it has.
   */
  beginHost(subject = 0, ringAt = 0, ringSlots = 0): void {
    const at = RECORDS_AT + HOST_RECORD * RECORD_WORDS;
    const i32 = this.i32;
    i32[at + RECORD.subject] = subject;
    i32[at + RECORD.ringAt] = ringAt;
    i32[at + RECORD.ringSlots] = ringSlots;
    this.begin(HOST_RECORD);
  }

  /** Within such a transaction: what follows is this one's work. */
  goOnFor(subject: number): void {
    this.i32[RECORDS_AT + HOST_RECORD * RECORD_WORDS + RECORD.subject] = subject;
  }

  /** Work that no vCPU waits for, as a transaction: what throws leaves nothing of it. */
  transact(work: () => void): void {
    this.beginHost();
    try {
      work();
    } catch (error) {
      this.rollback();
      throw error;
    }
    this.commit(PHASE.committed, 0, 0);
    this.release(HOST_RECORD);
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

  /**
   * With this transaction's commit the late answer of a vCPU is known, so that the process after one that dies right
   * then gives that answer and asks no device again. Returns whose transaction it is, for answered().
   */
  answer(slot: number, lo: number, hi: number): number {
    const at = RECORDS_AT + slot * RECORD_WORDS;
    this.i32[at + RECORD.replyLo] = lo;
    this.i32[at + RECORD.replyHi] = hi;
    this.i32[at + RECORD.element] = this.i32[at + RECORD.progress] as number;
    const word = RECORDS_AT + this.#owner * RECORD_WORDS + RECORD.answers + (slot >>> 5);
    this.i32[word] = (this.i32[word] as number) | (1 << (slot & 31));
    return this.#owner;
  }

  /** The vCPU has that answer. */
  answered(owner: number, slot: number): void {
    const word = RECORDS_AT + owner * RECORD_WORDS + RECORD.answers + (slot >>> 5);
    this.i32[word] = (this.i32[word] as number) & ~(1 << (slot & 31));
  }

  /** A vCPU's answer, outside of any transaction: nothing changes with it. */
  conclude(slot: number, lo: number, hi: number): void {
    const at = RECORDS_AT + slot * RECORD_WORDS;
    this.i32[at + RECORD.replyLo] = lo;
    this.i32[at + RECORD.replyHi] = hi;
    this.i32[at + RECORD.phase] = PHASE.committed;
    this.i32[at + RECORD.progress] = 0;
  }

  /** Put every word back as begin() found it. The record becomes idle. */
  rollback(): void {
    const owner = this.#owner;
    this.#undo(this.#count);
    this.#forgetAnswers(owner);
    this.#close();
    this.release(owner);
  }

  /** The vCPU has its answer: the record holds nothing any more. */
  release(record: number): void {
    const at = RECORDS_AT + record * RECORD_WORDS;
    if (this.i32[at + RECORD.deaths] !== 0) this.#survived(record, at);
    this.i32[at + RECORD.phase] = PHASE.idle;
  }

  /** Other work outside requests says nothing of an entry of the ring in which a process died. */
  #survived(record: number, at: number): void {
    if (record === HOST_RECORD && this.i32[at + RECORD.ringSlots] === 0) return;
    this.i32[at + RECORD.deaths] = 0;
  }

  /** A record as another process sees it. */
  record(index: number): Record<Exclude<keyof typeof RECORD, "answers">, number> {
    const at = RECORDS_AT + index * RECORD_WORDS;
    const word = (field: keyof typeof RECORD): number => Atomics.load(this.i32, at + RECORD[field]);
    return {
      phase: word("phase"),
      deaths: word("deaths"),
      replyLo: word("replyLo"),
      replyHi: word("replyHi"),
      progress: word("progress"),
      element: word("element"),
      subject: word("subject"),
      ringAt: word("ringAt"),
      ringSlots: word("ringSlots"),
      diedAt: word("diedAt"),
    };
  }

  /** How many elements of a rep request are done: kept with a deferred record. In a transaction it is undone with it. */
  setProgress(record: number, elements: number): void {
    const word = RECORDS_AT + record * RECORD_WORDS + RECORD.progress;
    if (this.inTransaction) this.#remember(word);
    this.i32[word] = elements;
  }

  /**
   * Undo what a dead process left half done: its executing transaction, if any; and note the late answers that came
   * with a committed one. Returns the record that was executing, or -1. Call once, before anything else. Throws
   * ARENA_INVALID, with nothing undone, where the journal names something that no transaction stores to.
   */
  recover(): number {
    const records = Array.from({ length: RECORD_COUNT }, (_, record) => record);
    const owner = records.find((record) => this.record(record).phase === PHASE.executing);
    // Without one the journal is that of a transaction that was committed: nothing to undo.
    if (owner !== undefined) {
      const count = this.header("journalCount");
      refuse(journalFault(this.i32, count));
      this.#undo(count);
      const at = RECORDS_AT + owner * RECORD_WORDS;
      this.#countDeath(owner, at);
      this.#forgetAnswers(owner);
      this.i32[at + RECORD.phase] = PHASE.idle;
    }
    this.#close();
    for (const record of records) this.#concludeAnswered(record);
    return owner ?? -1;
  }

  /** Of a request, or of an entry of the ring; whose other work counts elsewhere, for it is not done again. */
  #countDeath(owner: number, at: number): void {
    const i32 = this.i32;
    if (owner === HOST_RECORD) {
      if (i32[at + RECORD.ringSlots] === 0) return;
      if (i32[at + RECORD.diedAt] !== i32[at + RECORD.ringAt]) i32[at + RECORD.deaths] = 0;
      i32[at + RECORD.diedAt] = i32[at + RECORD.ringAt] as number;
    }
    i32[at + RECORD.deaths] = (i32[at + RECORD.deaths] as number) + 1;
  }

  /** The answers that became known with a record's work, which is committed. */
  #concludeAnswered(owner: number): void {
    for (let slot = 0; slot < HOST_RECORD; slot += 1) {
      const answers = this.i32[RECORDS_AT + owner * RECORD_WORDS + RECORD.answers + (slot >>> 5)] as number;
      if ((answers & (1 << (slot & 31))) === 0) continue;
      const at = RECORDS_AT + slot * RECORD_WORDS + RECORD.phase;
      if (this.i32[at] === PHASE.deferred) this.i32[at] = PHASE.answered;
    }
    this.#forgetAnswers(owner);
  }

  #forgetAnswers(owner: number): void {
    const at = RECORDS_AT + owner * RECORD_WORDS + RECORD.answers;
    for (let word = at; word < at + ANSWER_WORDS; word += 1) if (this.i32[word] !== 0) this.i32[word] = 0;
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

function refuse(fault: string | null): void {
  if (fault !== null) throw new IoreqdError("ARENA_INVALID", `not a usable state file: ${fault}`, {});
}
