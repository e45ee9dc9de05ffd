// SPDX-License-Identifier: MIT
/** A process may die at any store of a change of the layout: whoever comes next finds the old one, or the new one. */

import fc from "fast-check";
import { Arena, arenaSize, HEADER, HOST_RECORD, PHASE, RESERVE } from "../../src/state/arena.js";
import { LayoutAreas } from "../../src/state/layout-areas.js";

const DATA = 64;
const reserve = { data: 64, layout: 256 };
const create = (layout = "old"): { arena: Arena; buffer: ArrayBuffer } => {
  const buffer = new ArrayBuffer(arenaSize(DATA, layout, reserve));
  return { arena: Arena.create(buffer, DATA, layout, reserve), buffer };
};
/** The file as the next process finds it, after what it does first. */
function heirOf(buffer: ArrayBuffer): Arena {
  const heir = Arena.open(buffer.slice(0));
  heir.recover();
  return heir;
}
function change(arena: Arena, layout: string, value: number): void {
  arena.beginHost();
  arena.store(arena.dataAt, 4, value);
  arena.setLayout(layout);
  arena.commit(PHASE.committed, 0, 0);
  arena.release(HOST_RECORD);
}

test("the layout is the one that was set last, however often, and with it the data", () => {
  const { arena, buffer } = create();
  for (let i = 0; i < 5; i += 1) {
    change(arena, `layout ${"x".repeat(i * 20)}`, i);
    const heir = heirOf(buffer);
    expect([heir.layout(), heir.load(heir.dataAt, 4)]).toEqual([`layout ${"x".repeat(i * 20)}`, i]);
  }
});

test("a death at any step leaves the old layout with the old data, or the new one with the new data", () => {
  const { arena, buffer } = create("first");
  change(arena, "old", 1); // so both areas have been used
  const found: string[] = [];
  const die = (): void => {
    const heir = heirOf(buffer);
    found.push(`${heir.layout()} ${heir.load(heir.dataAt, 4)}`);
    expect(heir.recover()).toBe(-1);
  };
  arena.beginHost();
  die();
  arena.store(arena.dataAt, 4, 2);
  die();
  new LayoutAreas(buffer).prepare("new");
  die();
  arena.setLayout("new");
  die();
  arena.commit(PHASE.committed, 0, 0);
  die();
  arena.release(HOST_RECORD);
  die();
  expect(found).toEqual(["old 1", "old 1", "old 1", "old 1", "new 2", "new 2"]);
});

test("of a text that is half written nothing is seen", () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 200 }),
      fc.string({ maxLength: 200 }),
      fc.double({ min: 0, max: 1 }),
      (a, b, part) => {
        const { arena, buffer } = create("x");
        change(arena, a, 0);
        const before = arena.layout();
        const after = buffer.slice(0);
        new LayoutAreas(after).prepare(b);
        // The first bytes of what differs have been written, the rest has not.
        const old = new Uint8Array(buffer);
        const written = new Uint8Array(after);
        const differing = [...written.keys()].filter((i) => written[i] !== old[i]);
        for (const i of differing.slice(0, Math.floor(differing.length * part))) old[i] = written[i] as number;
        expect(heirOf(buffer).layout()).toBe(before);
      },
    ),
    { numRuns: 50 },
  );
});

test("a change that is undone leaves the old layout, and the next change works", () => {
  const { arena, buffer } = create();
  arena.beginHost();
  arena.setLayout("undone");
  expect(arena.layout()).toBe("undone");
  arena.rollback();
  expect(arena.layout()).toBe("old");
  change(arena, "next", 3);
  expect(heirOf(buffer).layout()).toBe("next");
});

test("with every word of the data stored and the layout changed, the journal is full and holds", () => {
  const { arena, buffer } = create();
  const before = arena.u8.slice(arena.dataAt, arena.dataAt + arena.dataLength);
  arena.beginHost();
  for (let at = 0; at < arena.dataLength; at += 4) arena.store(arena.dataAt + at, 4, -1);
  arena.setLayout("new");
  const heir = heirOf(buffer);
  expect(heir.layout()).toBe("old");
  expect(heir.u8.slice(heir.dataAt, heir.dataAt + heir.dataLength)).toEqual(before);
});

test("a layout without room is refused, and the old one holds", () => {
  const { arena } = create();
  arena.beginHost();
  expect(() => arena.setLayout("x".repeat(1000))).toThrow("1000 are needed");
  arena.rollback();
  expect(arena.layout()).toBe("old");
});

test("outside a transaction the layout does not change", () => {
  const { arena } = create();
  expect(() => arena.setLayout("new")).toThrow("outside a handler");
  expect(arena.layout()).toBe("old");
});

test("a reader that is overtaken by a change reads again", () => {
  const { arena, buffer } = create();
  const decode = jest.spyOn(Uint8Array.prototype, "slice").mockImplementationOnce(function (this: Uint8Array, ...args) {
    const text = Uint8Array.prototype.subarray.apply(this, args);
    change(arena, "newer", 1);
    return text as Uint8Array<ArrayBuffer>;
  });
  expect(Arena.open(buffer).layout()).toBe("newer");
  decode.mockRestore();
});

test.each([
  ["layoutLength", -1, "its layout is damaged"],
  ["layoutLength", 1 << 20, "its layout is damaged"],
  ["otherLayoutLength", 1 << 20, "its layout is damaged"],
  ["layoutCapacity", 1 << 20, "its sizes do not add up"],
  ["layoutCapacity", -8, "its sizes do not add up"],
  ["layoutAt", 0, "its offsets do not add up"],
  ["dataAt", 0, "its offsets do not add up"],
  ["journalCount", 34, "its journal is damaged"],
] as const)("a file whose %s is %i is refused", (field, value, message) => {
  const { buffer } = create();
  new Int32Array(buffer)[HEADER[field]] = value;
  expect(() => Arena.open(buffer)).toThrow(message);
});

test("the reserve is a few MiB of addresses, and no memory until it is used", () => {
  expect(arenaSize(DATA, "{}", RESERVE) - arenaSize(DATA, "{}")).toBeLessThan(6 << 20);
});
