// SPDX-License-Identifier: MIT
/**
 * The arena's file: what lies where in it, and what makes one usable.
 *
 * In this order, as 32-bit little-endian words: header, one record per vCPU
 * and one for work outside requests, the ledger of claims, undo journal, two
 * areas for the layout (JSON), data. One word of the header says which of the two layouts holds:
 * its lowest bit is the area's number, and it counts the changes, so whoever
 * reads from another process can tell that there was one meanwhile.
 */

import { IoreqdError } from "../base/errors.js";
import { MAX_VCPUS, PAGE_SIZE } from "../spec/xen-ioreq.js";

/** Words of the header. */
export const HEADER = {
  magic: 0,
  version: 1,
  size: 2,
  domid: 3,
  ioservid: 4,
  serverState: 5,
  pid: 6,
  journalCount: 7,
  journalAt: 8,
  /** Of area 0; area 1 follows it. */
  layoutAt: 9,
  /** Bytes of each area. */
  layoutCapacity: 10,
  dataAt: 11,
  dataLength: 12,
  bufioreqMode: 13,
  /** How often the layout was changed. */
  layoutChanges: 14,
  /** Bytes of text in area 0, and in area 1. */
  layoutLength: 15,
  otherLayoutLength: 16,
  /** Of the domain, 16 bytes in four words; zeroes where nobody could tell. */
  uuid: 17,
  ledgerAt: 21,
  /** How often a process took over from one before it. */
  takeovers: 22,
  /** Changes with each transaction: for whoever wants to know whether it is still the same one. */
  transaction: 23,
} as const;

export const MAGIC = 0x51_52_4f_49; // "IORQ"
export const VERSION = 3;

/** What `HEADER.serverState` says: how far the server of `HEADER.ioservid` had come. */
export const SERVER_STATE = { none: 0, created: 1, enabled: 2 } as const;
export const UUID_WORDS = 4;
export const UUID_PATTERN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Of one run of bytes: no arena has more. */
export const MAX_VALUE_BYTES = 1 << 30;

/** Phases of a record; see docs/architecture.md, "A request is a transaction". */
export const PHASE = { idle: 0, executing: 1, committed: 2, deferred: 3, answered: 4 } as const;

/**
 * Words of a record. `deaths`: how many processes died executing this request; for work outside requests, applying the
 * entry of the buffered ring at `diedAt`. `subject`: whose work it is, where no request says so. `ringSlots`, with
 * `ringAt`: how many slots of the buffered ring this work was, from which on. `answers`: a bit for each vCPU whose late
 * answer became known with this work, in four words. `element`: of which element of a rep request the reply is a late
 * answer, counted as `progress` is; 0 for other requests.
 */
export const RECORD = {
  phase: 0,
  deaths: 1,
  replyLo: 2,
  replyHi: 3,
  progress: 4,
  subject: 5,
  ringAt: 6,
  ringSlots: 7,
  answers: 8,
  diedAt: 12,
  element: 13,
} as const;
export const ANSWER_WORDS = MAX_VCPUS / 32;
export const RECORD_WORDS = 16;
export const RECORDS_AT = 64;

/** The record of work that no vCPU waits for: a timer, a byte from a backend. */
export const HOST_RECORD = MAX_VCPUS;
export const RECORD_COUNT = MAX_VCPUS + 1;

/** Room for what comes later, in bytes. */
export interface Reserve {
  /** Of the data area. */
  readonly data: number;
  /** Of each layout area. */
  readonly layout: number;
}

export const NO_RESERVE: Reserve = { data: 0, layout: 0 };
/**
 * For devices that are added while a guest runs: about thirty with the largest MSI-X table there is (33 KiB of
 * registers), or two hundred like edu; a layout takes some ten times the bytes of the registers that it
 * names, unless they are buffers. With the journal it is 5 MiB, which the file has from the start: what is
 * taken only when it is used may not be there then (src/xen/map-file.ts).
 */
export const RESERVE: Reserve = { data: 1 << 20, layout: 1 << 20 };

export const align = (value: number, to: number): number => Math.ceil(value / to) * to;

/** Words of the ledger: see ledger.ts. */
export const LEDGER_LINE_WORDS = 4;
export const LEDGER_ENTRY_WORDS = 8;
/** Xen takes 256 ranges of each kind from a server, and merges neighbours. */
export const LEDGER_ENTRIES = 2048;
const LEDGER_BYTES = (LEDGER_ENTRY_WORDS + LEDGER_ENTRIES * LEDGER_ENTRY_WORDS) * 4;

/** Where everything begins, for this many bytes of data and of each layout. */
export function place(dataLength: number, layoutCapacity: number) {
  const ledgerAt = (RECORDS_AT + RECORD_COUNT * RECORD_WORDS) * 4;
  const journalAt = ledgerAt + LEDGER_BYTES;
  // Each word of data is recorded at most once per transaction, and one besides: which layout holds, or the progress
  // of a rep request. So this never overflows.
  const journalLength = align(dataLength, 4) * 2 + 8;
  const layoutAt = align(journalAt + journalLength, PAGE_SIZE);
  const dataAt = align(layoutAt + layoutCapacity * 2, PAGE_SIZE);
  return { ledgerAt, journalAt, layoutAt, dataAt, size: align(dataAt + dataLength, PAGE_SIZE) };
}

/** Bytes of data and of each layout area, for a beginning with so much. */
export function capacities(dataLength: number, layout: string, reserve: Reserve) {
  return {
    dataLength: align(dataLength, 8) + reserve.data,
    layoutCapacity: align(Buffer.byteLength(layout), 8) + reserve.layout,
  };
}

/** Size in bytes of the file for this much data (bytes) and this layout text. */
export function arenaSize(dataLength: number, layout: string, reserve: Reserve = NO_RESERVE): number {
  const capacity = capacities(dataLength, layout, reserve);
  return place(capacity.dataLength, capacity.layoutCapacity).size;
}

/**
 * Write the header of a new file, and its layout, into `buffer`, which is all zeroes. The magic number comes last: a file
 * without it is not an arena. Throws ARENA_TOO_SMALL where the buffer has less than arenaSize() bytes.
 */
export function layOut(buffer: ArrayBuffer, dataLength: number, layout: string, reserve: Reserve): void {
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
}

/** What is wrong with the header of a file, or null. */
export function fault(buffer: ArrayBuffer): string | null {
  const length = buffer.byteLength;
  if (length < RECORDS_AT * 4) return `it has ${length} bytes, less than its header`;
  const header = new Int32Array(buffer, 0, RECORDS_AT);
  const at = (field: keyof typeof HEADER): number => header[HEADER[field]] as number;
  if (at("magic") !== MAGIC) return "it does not begin with IORQ";
  if (at("version") !== VERSION) return `its version is ${at("version")}, this program reads ${VERSION}`;
  if (at("size") > length) return `it says ${at("size")} bytes and has ${length}`;
  const expected = place(at("dataLength"), at("layoutCapacity"));
  if (at("dataLength") < 0 || at("layoutCapacity") < 0 || expected.size !== at("size"))
    return "its sizes do not add up";
  for (const field of ["ledgerAt", "journalAt", "layoutAt", "dataAt"] as const) {
    if (expected[field] !== at(field)) return "its offsets do not add up";
  }
  for (const field of ["layoutLength", "otherLayoutLength"] as const) {
    if (at(field) < 0 || at(field) > at("layoutCapacity")) return "its layout is damaged";
  }
  if (at("journalCount") < 0 || at("journalCount") > align(at("dataLength"), 4) / 4 + 1)
    return "its journal is damaged";
  return null;
}

/** What is wrong with the first `count` entries of the journal, or null: a word that no transaction stores to. */
export function journalFault(words: Int32Array, count: number): string | null {
  const at = (field: keyof typeof HEADER): number => words[HEADER[field]] as number;
  const [first, end] = [at("dataAt") >>> 2, (at("dataAt") + align(at("dataLength"), 4)) >>> 2];
  for (let entry = 0; entry < count; entry += 1) {
    const word = words[(at("journalAt") >>> 2) + entry * 2] as number;
    const known = (word >= first && word < end) || word === HEADER.layoutChanges || isProgress(word);
    if (!known) return `its journal has word ${word}, and data is from ${first} to ${end}`;
  }
  return null;
}

function isProgress(word: number): boolean {
  const inRecords = word - RECORDS_AT;
  return inRecords >= 0 && inRecords < RECORD_COUNT * RECORD_WORDS && inRecords % RECORD_WORDS === RECORD.progress;
}
