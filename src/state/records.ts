// SPDX-License-Identifier: MIT
/**
 * The records of the arena's file, one per vCPU and one for work that no vCPU
 * waits for: how far each has come, and what the next process needs to go on.
 */

import { ANSWER_WORDS, HOST_RECORD, PHASE, RECORD, RECORD_COUNT, RECORD_WORDS, RECORDS_AT } from "./format.js";

// The compiler knows a constant of this file; a property of one that is imported it looks up, in every transaction.
const { idle: IDLE, executing: EXECUTING, committed: COMMITTED, deferred: DEFERRED, answered: ANSWERED } = PHASE;
const SIZE = RECORD_WORDS;
const PHASE_WORD = RECORD.phase;
const DEATHS = RECORD.deaths;
const REPLY_LO = RECORD.replyLo;
const REPLY_HI = RECORD.replyHi;

/** A record as another process sees it. */
export type RecordFields = Record<Exclude<keyof typeof RECORD, "answers">, number>;

export class Records {
  /** Those of all records. */
  readonly #words: Int32Array;

  /** `i32`: the arena's file. */
  constructor(i32: Int32Array) {
    this.#words = i32.subarray(RECORDS_AT, RECORDS_AT + RECORD_COUNT * RECORD_WORDS);
  }

  /** Its work is under way. */
  execute(record: number): void {
    this.#words[record * SIZE + PHASE_WORD] = EXECUTING;
  }

  /** Whose work it is that no vCPU waits for, and where in the buffered ring. */
  nameHostWork(subject: number, ringAt: number, ringSlots: number): void {
    const at = HOST_RECORD * SIZE;
    const words = this.#words;
    words[at + RECORD.subject] = subject;
    words[at + RECORD.ringAt] = ringAt;
    words[at + RECORD.ringSlots] = ringSlots;
  }

  nameSubject(subject: number): void {
    this.#words[HOST_RECORD * SIZE + RECORD.subject] = subject;
  }

  /** The reply, and then the phase: the one word that decides. */
  conclude(record: number, phase: number, replyLo: number, replyHi: number): void {
    const at = record * SIZE;
    const words = this.#words;
    words[at + REPLY_LO] = replyLo;
    words[at + REPLY_HI] = replyHi;
    words[at + PHASE_WORD] = phase;
  }

  /** A vCPU's answer that no transaction comes with: nothing changes. */
  concludePlainly(slot: number, replyLo: number, replyHi: number): void {
    this.conclude(slot, COMMITTED, replyLo, replyHi);
    this.#words[slot * SIZE + RECORD.progress] = 0;
  }

  /** It holds nothing any more. */
  release(record: number): void {
    const at = record * SIZE;
    if (this.#words[at + DEATHS] !== 0) this.#survived(record, at);
    this.#words[at + PHASE_WORD] = IDLE;
  }

  /** Other work outside requests says nothing of an entry of the ring in which a process died. */
  #survived(record: number, at: number): void {
    if (record === HOST_RECORD && this.#words[at + RECORD.ringSlots] === 0) return;
    this.#words[at + DEATHS] = 0;
  }

  read(record: number): RecordFields {
    const at = record * SIZE;
    const word = (field: keyof typeof RECORD): number => Atomics.load(this.#words, at + RECORD[field]);
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

  /** Which word of the file tells how many elements of a rep request are done. */
  progressWord(record: number): number {
    return RECORDS_AT + record * SIZE + RECORD.progress;
  }

  // -- late answers that become known with other work -------------------------------------------

  /** The late answer of `slot` becomes known with what `owner` commits. */
  answer(owner: number, slot: number, lo: number, hi: number): void {
    const at = slot * SIZE;
    const words = this.#words;
    words[at + REPLY_LO] = lo;
    words[at + REPLY_HI] = hi;
    words[at + RECORD.element] = words[at + RECORD.progress] as number;
    const word = this.#answersWord(owner, slot);
    words[word] = (words[word] as number) | (1 << (slot & 31));
  }

  /** The vCPU has that answer. */
  answered(owner: number, slot: number): void {
    const word = this.#answersWord(owner, slot);
    this.#words[word] = (this.#words[word] as number) & ~(1 << (slot & 31));
  }

  /** What `owner` did is undone, and so are the answers that came with it. */
  forgetAnswers(owner: number): void {
    const at = this.#answersWord(owner, 0);
    for (let word = at; word < at + ANSWER_WORDS; word += 1) if (this.#words[word] !== 0) this.#words[word] = 0;
  }

  #answersWord(owner: number, slot: number): number {
    return owner * SIZE + RECORD.answers + (slot >>> 5);
  }

  // -- what a process that takes over finds ------------------------------------------------------

  /** The record whose work was under way, or -1. */
  executing(): number {
    for (let record = 0; record < RECORD_COUNT; record += 1) {
      if (Atomics.load(this.#words, record * SIZE + PHASE_WORD) === EXECUTING) return record;
    }
    return -1;
  }

  /** A process died in the work of this record, which is undone. */
  died(record: number): void {
    this.#countDeath(record, record * SIZE);
    this.forgetAnswers(record);
    this.#words[record * SIZE + PHASE_WORD] = IDLE;
  }

  /** Of a request, or of an entry of the ring; whose other work counts elsewhere, for it is not done again. */
  #countDeath(record: number, at: number): void {
    const words = this.#words;
    if (record === HOST_RECORD) {
      if (words[at + RECORD.ringSlots] === 0) return;
      if (words[at + RECORD.diedAt] !== words[at + RECORD.ringAt]) words[at + DEATHS] = 0;
      words[at + RECORD.diedAt] = words[at + RECORD.ringAt] as number;
    }
    words[at + DEATHS] = (words[at + DEATHS] as number) + 1;
  }

  /** Note the late answers that became known with work that is committed. */
  concludeAnswered(): void {
    for (let owner = 0; owner < RECORD_COUNT; owner += 1) {
      for (let slot = 0; slot < HOST_RECORD; slot += 1) {
        const answers = this.#words[this.#answersWord(owner, slot)] as number;
        if ((answers & (1 << (slot & 31))) === 0) continue;
        const at = slot * SIZE + PHASE_WORD;
        if (this.#words[at] === DEFERRED) this.#words[at] = ANSWERED;
      }
      this.forgetAnswers(owner);
    }
  }
}
