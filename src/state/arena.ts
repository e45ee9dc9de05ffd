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
 * What lies where in the file is in format.ts; the parts of it have a file
 * each: records, undo-journal, ledger, layout-areas.
 */

import { IoreqdError } from "../base/errors.js";
import {
  fault,
  HEADER,
  HOST_RECORD,
  journalFault,
  layOut,
  NO_RESERVE,
  PHASE,
  type Reserve,
  UUID_WORDS,
} from "./format.js";
import { LayoutAreas } from "./layout-areas.js";
import { Ledger } from "./ledger.js";
import { type RecordFields, Records } from "./records.js";
import { UndoJournal } from "./undo-journal.js";

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
  readonly #records: Records;
  readonly #journal: UndoJournal;
  /** The record whose transaction is under way, or -1. */
  #owner = -1;

  private constructor(buffer: ArrayBuffer) {
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.view = new DataView(buffer);
    this.dataAt = this.header("dataAt");
    this.dataLength = this.header("dataLength");
    this.ledger = new Ledger(this.i32, this.header("ledgerAt"));
    this.#layouts = new LayoutAreas(buffer);
    this.#records = new Records(this.i32);
    this.#journal = new UndoJournal(this.i32);
  }

  /** Lay out a new arena in `buffer` (all zeroes, `arenaSize()` bytes). Throws ARENA_TOO_SMALL. */
  static create(buffer: ArrayBuffer, dataLength: number, layout: string, reserve: Reserve = NO_RESERVE): Arena {
    layOut(buffer, dataLength, layout, reserve);
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
    this.#journal.append(HEADER.layoutChanges);
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
    this.#journal.open();
    this.#records.execute(record);
  }

  /**
   * Start the transaction of work that no vCPU waits for. `subject`: whose, 0 for nobody's. For an entry of the buffered
   * ring: its first slot there, and how many it has.
   */
  beginHost(subject = 0, ringAt = 0, ringSlots = 0): void {
    this.#records.nameHostWork(subject, ringAt, ringSlots);
    this.begin(HOST_RECORD);
  }

  /** Within such a transaction: what follows is this one's work. */
  goOnFor(subject: number): void {
    this.#records.nameSubject(subject);
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
    this.#records.conclude(this.#owner, phase, replyLo, replyHi);
    this.#close();
  }

  /**
   * With this transaction's commit the late answer of a vCPU is known, so that the process after one that dies right
   * then gives that answer and asks no device again. Returns whose transaction it is, for answered().
   */
  answer(slot: number, lo: number, hi: number): number {
    this.#records.answer(this.#owner, slot, lo, hi);
    return this.#owner;
  }

  /** The vCPU has that answer. */
  answered(owner: number, slot: number): void {
    this.#records.answered(owner, slot);
  }

  /** A vCPU's answer, outside of any transaction: nothing changes with it. */
  conclude(slot: number, lo: number, hi: number): void {
    this.#records.concludePlainly(slot, lo, hi);
  }

  /** Put every word back as begin() found it. The record becomes idle. */
  rollback(): void {
    const owner = this.#owner;
    this.#journal.undo();
    this.#records.forgetAnswers(owner);
    this.#close();
    this.release(owner);
  }

  /** The vCPU has its answer: the record holds nothing any more. */
  release(record: number): void {
    this.#records.release(record);
  }

  /** A record as another process sees it. */
  record(index: number): RecordFields {
    return this.#records.read(index);
  }

  /** How many elements of a rep request are done: kept with a deferred record. In a transaction it is undone with it. */
  setProgress(record: number, elements: number): void {
    const word = this.#records.progressWord(record);
    if (this.inTransaction) this.#journal.append(word);
    this.i32[word] = elements;
  }

  /**
   * Undo what a dead process left half done: its executing transaction, if any; and note the late answers that came
   * with a committed one. Returns the record that was executing, or -1. Call once, before anything else. Throws
   * ARENA_INVALID, with nothing undone, where the journal names something that no transaction stores to.
   */
  recover(): number {
    const owner = this.#records.executing();
    // Without one the journal is that of a transaction that was committed: nothing to undo.
    if (owner >= 0) {
      const count = this.header("journalCount");
      refuse(journalFault(this.i32, count));
      this.#journal.undoFirst(count);
      this.#records.died(owner);
    }
    this.#close();
    this.#records.concludeAnswered();
    return owner;
  }

  /** Store one word (index of 32-bit words in the file), keeping the old one for undo. */
  setWord(word: number, value: number): void {
    this.#journal.keep(word);
    this.i32[word] = value;
  }

  /**
   * Store one word for good, between transactions: what the hypervisor has been told already can't be undone.
   */
  settle(word: number, value: number): void {
    this.i32[word] = value;
  }

  #close(): void {
    this.#owner = -1;
    this.#journal.close();
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
