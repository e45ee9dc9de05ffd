// SPDX-License-Identifier: MIT
import fc from "fast-check";
import { Arena, arenaSize, HEADER, HOST_RECORD, PHASE } from "../../src/state/arena.js";

const DATA = 64;
const create = (): { arena: Arena; buffer: ArrayBuffer } => {
  const buffer = new ArrayBuffer(arenaSize(DATA, "{}"));
  return { arena: Arena.create(buffer, DATA, "{}"), buffer };
};
const data = (arena: Arena): Uint8Array => arena.u8.slice(arena.dataAt, arena.dataAt + arena.dataLength);
const stores = fc.array(fc.record({ at: fc.nat(DATA - 4), width: fc.constantFrom(1, 2, 4), value: fc.integer() }), {
  maxLength: 40,
});

function apply(arena: Arena, list: readonly { at: number; width: number; value: number }[]): void {
  for (const { at, width, value } of list) arena.store(arena.dataAt + at, width, value);
}

test("a store of any width and alignment is what a DataView would store", () => {
  fc.assert(
    fc.property(stores, (list) => {
      const { arena } = create();
      const expected = new DataView(new ArrayBuffer(DATA));
      arena.begin(0);
      apply(arena, list);
      for (const { at, width, value } of list) {
        if (width === 4) expected.setInt32(at, value, true);
        else if (width === 2) expected.setInt16(at, value, true);
        else expected.setInt8(at, value);
      }
      expect(data(arena)).toEqual(new Uint8Array(expected.buffer));
    }),
  );
});

test("rollback puts every byte back, whatever was stored and however often", () => {
  fc.assert(
    fc.property(stores, stores, (first, second) => {
      const { arena } = create();
      arena.begin(0);
      apply(arena, first);
      arena.commit(PHASE.committed, 0, 0);
      const before = data(arena);
      arena.begin(0);
      apply(arena, [...second, ...second]);
      arena.rollback();
      expect(data(arena)).toEqual(before);
    }),
  );
});

test("a process that opens the file after a death in mid-request rolls back what was half done", () => {
  fc.assert(
    fc.property(stores, stores, (first, second) => {
      const { arena, buffer } = create();
      arena.begin(3);
      apply(arena, first);
      arena.commit(PHASE.committed, 0, 0);
      arena.release(3);
      const before = data(arena);
      arena.begin(5);
      apply(arena, second);
      const heir = Arena.open(buffer.slice(0));
      expect(heir.record(5).phase).toBe(PHASE.executing);
      expect(heir.recover()).toBe(5);
      expect(heir.record(5)).toMatchObject({ phase: PHASE.idle, deaths: 1 });
      expect(data(heir)).toEqual(before);
      expect(heir.recover()).toBe(-1);
    }),
  );
});

test("a death after the commit loses nothing: the record holds the reply", () => {
  const { arena, buffer } = create();
  arena.begin(1);
  arena.store(arena.dataAt, 4, 42);
  arena.commit(PHASE.committed, 0x1234, -1);
  const heir = Arena.open(buffer.slice(0));
  expect(heir.recover()).toBe(-1);
  expect(heir.load(heir.dataAt, 4)).toBe(42);
  expect(heir.record(1)).toMatchObject({ phase: PHASE.committed, replyLo: 0x1234, replyHi: -1, deaths: 0 });
});

test("the progress of a rep request is undone with the work that made it", () => {
  const { arena, buffer } = create();
  arena.begin(2);
  arena.setProgress(2, 1);
  arena.commit(PHASE.deferred, 0, 0);
  arena.begin(2);
  arena.setProgress(2, 3);
  const heir = Arena.open(buffer.slice(0));
  expect(heir.recover()).toBe(2);
  expect(heir.record(2)).toMatchObject({ phase: PHASE.idle, progress: 1 });
});

test("a death between the end of one request and the beginning of the next undoes nothing", () => {
  const { arena, buffer } = create();
  arena.begin(0);
  arena.store(arena.dataAt, 4, 7);
  arena.commit(PHASE.committed, 0, 0);
  arena.release(0);
  const heir = Arena.open(buffer.slice(0));
  expect(heir.recover()).toBe(-1);
  expect(heir.load(heir.dataAt, 4)).toBe(7);
});

test("state that is changed outside a transaction is a mistake, and is refused", () => {
  const { arena } = create();
  expect(() => arena.store(arena.dataAt, 4, 1)).toThrow("outside a handler");
});

test("work outside requests has a record of its own", () => {
  const { arena } = create();
  arena.beginHost();
  expect(arena.record(HOST_RECORD).phase).toBe(PHASE.executing);
  arena.rollback();
  expect(arena.record(HOST_RECORD).phase).toBe(PHASE.idle);
});

test.each([
  ["magic", 1, "does not begin with IORQ"],
  ["version", 99, "its version is 99"],
  ["size", 1 << 30, "it says 1073741824 bytes"],
  ["dataLength", 60_000, "sizes do not add up"],
  ["journalCount", -1, "its journal is damaged"],
] as const)("a file with a wrong %s is refused", (field, value, message) => {
  const { buffer } = create();
  new Int32Array(buffer)[HEADER[field]] = value;
  expect(() => Arena.open(buffer)).toThrow(message);
});
