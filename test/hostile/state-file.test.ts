// SPDX-License-Identifier: MIT
/**
 * A state file that something has written into: it is refused, or it is recovered as a whole file of which only what
 * a transaction may store to is stored to. Nothing is followed that points out of it.
 */

import type { IoreqdError } from "../../src/base/errors.js";
import { Arena, arenaSize, HEADER, PHASE, SERVER_STATE } from "../../src/state/arena.js";
import { RECORD, RECORD_COUNT, RECORD_WORDS, RECORDS_AT } from "../../src/state/format.js";

const DATA = 256;
const LAYOUT = JSON.stringify({ devices: [] });
const RESERVE = { data: 0, layout: 256 };
const HOSTILE = [-1, 1, 3, 0x7fff_ffff, -0x8000_0000, 0x4000_0000, 4096, 0xffff];

function create(): { buffer: ArrayBuffer; words: Int32Array; arena: Arena } {
  const buffer = new ArrayBuffer(arenaSize(DATA, LAYOUT, RESERVE));
  const arena = Arena.create(buffer, DATA, LAYOUT, RESERVE);
  return { buffer, words: new Int32Array(buffer), arena };
}

/** A process died with `entries` in the journal. */
function died(entries: ReadonlyArray<readonly [word: number, old: number]>) {
  const made = create();
  const { words, arena } = made;
  arena.begin(2);
  entries.forEach(([word, old], index) => {
    words.set([word, old], (arena.header("journalAt") >>> 2) + index * 2);
  });
  arena.setHeader("journalCount", entries.length);
  return made;
}

/** What it is used for by whoever finds it. Null: refused, as ARENA_INVALID. */
function use(buffer: ArrayBuffer): Arena | null {
  try {
    const arena = Arena.open(buffer);
    arena.recover();
    arena.layout();
    return arena;
  } catch (error) {
    expect((error as IoreqdError).code).toBe("ARENA_INVALID");
    return null;
  }
}

const fields = Object.keys(HEADER) as Array<keyof typeof HEADER>;
const harmless: ReadonlyArray<keyof typeof HEADER> = ["domid", "ioservid", "serverState", "pid", "bufioreqMode"];

test.each(fields)("with any value in the header's %s it is refused, or what it has is in it", (field) => {
  for (const value of HOSTILE) {
    const { buffer, words } = create();
    const before = buffer.slice(0);
    words[HEADER[field]] = value;
    const arena = use(buffer);
    if (harmless.includes(field)) expect(arena).not.toBeNull();
    if (arena === null) continue;
    expect(arena.dataAt + arena.dataLength).toBeLessThanOrEqual(buffer.byteLength);
    expect(Buffer.byteLength(arena.layout())).toBeLessThanOrEqual(arena.header("layoutCapacity"));
    // Nothing was stored but what the field itself says, and what is counted.
    const after = new Int32Array(buffer.slice(0));
    after[HEADER[field]] = new Int32Array(before)[HEADER[field]] as number;
    expect(Buffer.compare(new Uint8Array(after.buffer), new Uint8Array(before))).toBe(0);
  }
});

test.each([0, 4, 63, 255, 256, 4095])("of %i bytes it is refused", (length) => {
  expect(use(create().buffer.slice(0, length))).toBeNull();
});

test.each([
  ["the magic number", HEADER.magic],
  ["its own size", HEADER.size],
  ["where the journal is", HEADER.journalAt],
  ["a register behind the data", 1 << 20],
  ["a word before the file", -1],
  ["2^31 - 1", 0x7fff_ffff],
])("a journal that names %s is refused, and nothing is undone", (_what, word) => {
  const { buffer, arena } = died([
    [arena0(), 7],
    [word, 0x666],
  ]);
  const before = new Uint8Array(buffer.slice(0));
  expect(use(buffer)).toBeNull();
  expect(Buffer.compare(new Uint8Array(buffer), before)).toBe(0);
  expect(arena.record(2).phase).toBe(PHASE.executing);
});

const arena0 = (): number => create().arena.dataAt >>> 2;

test("a journal that names data twice is undone to what was there first", () => {
  const { buffer, arena } = died([
    [arena0(), 7],
    [arena0(), 9],
  ]);
  expect(use(buffer)?.load(arena.dataAt, 4)).toBe(7);
});

test("records with any values are read as they are, and none keeps the file from being opened", () => {
  for (const value of HOSTILE) {
    const { buffer, words } = create();
    words.fill(value, RECORDS_AT, RECORDS_AT + RECORD_COUNT * RECORD_WORDS);
    const arena = use(buffer);
    if (arena !== null) expect(arena.record(0).progress).toBe(value);
  }
});

test("a record that says it is executing, with an empty journal, is idle afterwards and has died once more", () => {
  const { buffer, words } = create();
  words[RECORDS_AT + RECORD.phase] = PHASE.executing;
  words[RECORDS_AT + RECORD.deaths] = 4;
  expect(use(buffer)?.record(0)).toMatchObject({ phase: PHASE.idle, deaths: 5 });
});

test("any word of the file with any bit turned is refused or used, and never an exception of another kind", () => {
  const { buffer, arena } = died([[arena0(), 7]]);
  arena.setHeader("serverState", SERVER_STATE.enabled);
  const last = arena.dataAt >>> 2;
  for (let word = 0; word < last; word += word < RECORDS_AT ? 1 : 7) {
    for (const bit of [0, 12, 31]) {
      const copy = buffer.slice(0);
      const words = new Int32Array(copy);
      words[word] = (words[word] as number) ^ (1 << bit);
      use(copy);
    }
  }
});
