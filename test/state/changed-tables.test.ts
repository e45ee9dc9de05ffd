// SPDX-License-Identifier: MIT
/** A process takes over whose devices have other tables than the one before it. */

import type { PciDevice } from "../../src/pci/define.js";
import { planAgain, takeState } from "../../src/pci/plan-again.js";
import { Arena } from "../../src/state/arena.js";
import { arenaOf, everything, requestsOf, setValue, takeOver, valueAt, withRegisters } from "../support/state.js";

const ALL = 0xffff_ffff;
const before = withRegisters({ ID: { at: 0, reset: 7 }, A: { at: 4, rw: ALL }, B: { at: 8, rw: ALL, reset: 5 } });

/** State of `before`, with something in it. */
function written(device: PciDevice = before): Arena {
  const arena = arenaOf([device]);
  setValue(arena, "bar0.A", 0xabcdn);
  setValue(arena, "config.BAR0", 0xf000_0000n);
  return arena;
}

/** It refuses with this, and nothing has changed. */
function expectRefused(arena: Arena, device: PciDevice, what: RegExp): void {
  const [file, state] = [Buffer.from(arena.u8.slice()), everything(arena)];
  expect(() => takeOver(arena, [device])).toThrow(what);
  expect(everything(arena)).toEqual(state);
  expect(Buffer.compare(arena.u8, file)).toBe(0);
}

test("a register keeps its value wherever the new table has it, and a new one begins at its reset value", () => {
  const arena = written();
  takeOver(arena, [
    withRegisters({
      NEW: { at: 0, reset: 9 },
      A: { at: 0x20, rw: ALL },
      B: { at: 8, rw: ALL, reset: 5 },
      ID: { at: 4, reset: 7 },
    }),
  ]);
  expect(valueAt(arena, "bar0.A")).toBe(0xabcdn);
  expect(valueAt(arena, "bar0.NEW")).toBe(9n);
  expect(valueAt(arena, "config.BAR0")).toBe(0xf000_0000n);
});

test("an older program takes it back", () => {
  const arena = written();
  const old = everything(arena);
  takeOver(arena, [
    withRegisters({
      A: { at: 0x20, rw: ALL },
      B: { at: 0, rw: ALL, reset: 5 },
      NEW: { at: 8 },
      ID: { at: 4, reset: 7 },
    }),
  ]);
  setValue(arena, "bar0.A", 0x1234n);
  takeOver(arena, [before]);
  expect(valueAt(arena, "bar0.A")).toBe(0x1234n);
  setValue(arena, "bar0.A", 0xabcdn);
  expect(everything(arena)).toEqual(old);
});

test("what the guest can't write follows the table, and what it can write is state", () => {
  const arena = written();
  takeOver(arena, [withRegisters({ ID: { at: 0, reset: 8 }, A: { at: 4, rw: ALL }, B: { at: 8, rw: ALL, reset: 6 } })]);
  expect(valueAt(arena, "bar0.ID")).toBe(8n);
  expect(valueAt(arena, "bar0.B")).toBe(5n);
});

test("a register that is gone is no loss while it holds its reset value", () => {
  const arena = written();
  takeOver(arena, [withRegisters({ ID: { at: 0, reset: 7 }, A: { at: 4, rw: ALL } })]);
  expect(valueAt(arena, "bar0.B")).toBeUndefined();
});

test.each<[string, PciDevice, RegExp]>([
  [
    "a register with state that is gone",
    withRegisters({ B: { at: 8, rw: ALL, reset: 5 } }),
    /no bar0\.A any more, and that holds 0xabcd/,
  ],
  ["another width", withRegisters({ A: { at: 8, width: 2, rw: 0xffff } }), /bar0\.A was 4 bytes wide and is 2/],
  ["another kind", withRegisters({ A: { at: 8, bytes: 4 } }), /bar0\.A was a register and is a run of bytes/],
  [
    "bits that the guest has written and can't write any more",
    withRegisters({ A: { at: 4, rw: 0xff } }),
    /can't write bits 0xab00 of bar0\.A/,
  ],
  [
    "a BAR that has become one of ports",
    withRegisters({}, { bars: { 0: { space: "io", size: 16, regs: { A: { at: 4, rw: ALL } } } } }),
    /config\.BAR0 is of another kind/,
  ],
  ["a BAR that is gone", withRegisters({}, { bars: {} }), /no bar0\.A any more|no config\.BAR0 any more/],
  ["another device", withRegisters({}, { name: "other" }), /the state there is of card/],
])("%s is refused by name, and nothing changes", (_, device, what) => {
  expectRefused(written(), device, what);
});

test("declared state and timers move like registers; bytes may grow, not shrink", () => {
  const card = (rows: NonNullable<PciDevice["state"]>, timers: string[]): PciDevice =>
    withRegisters({}, { state: rows, timers });
  const arena = arenaOf([card({ count: "int32", heap: { bytes: 4 } }, ["one", "two"])]);
  setValue(arena, "state.count", 41n);
  setValue(arena, "state.heap", Buffer.from([1, 2, 3, 4]));
  setValue(arena, "timers.two.running", 1n);
  setValue(arena, "timers.two.deadline", 99n);
  setValue(arena, "timers.one.deadline", 98n); // it ran before, and does not now
  takeOver(arena, [card({ heap: { bytes: 8 }, count: "int32" }, ["two"])]);
  expect(valueAt(arena, "state.count")).toBe(41n);
  expect(valueAt(arena, "state.heap")).toEqual(new Uint8Array([1, 2, 3, 4, 0, 0, 0, 0]));
  expect(valueAt(arena, "timers.two.deadline")).toBe(99n);
  expectRefused(arena, card({ count: "int32", heap: { bytes: 6 } }, ["two"]), /state\.heap had 8 bytes and has 6/);
  expectRefused(arena, card({ count: "int32", heap: { bytes: 8 } }, []), /no timers\.two\.running any more/);
});

test("upgrade() says what becomes of places that are gone or other than before", () => {
  const arena = arenaOf([
    withRegisters({ A: { at: 0, rw: ALL }, OLD: { at: 4, rw: ALL } }, { state: { text: { bytes: 2 } } }),
  ]);
  setValue(arena, "bar0.A", 0x11n);
  setValue(arena, "bar0.OLD", 0x22n);
  setValue(arena, "state.text", Buffer.from("hi"));
  takeOver(arena, [
    withRegisters(
      { A: { at: 0, width: 8, rw: 0xffn }, NEW: { at: 8, rw: ALL } },
      {
        upgrade: ({ "bar0.OLD": old = 0n, "state.text": _gone, ...rest }) => ({ ...rest, "bar0.NEW": old }),
      },
    ),
  ]);
  expect(valueAt(arena, "bar0.A")).toBe(0x11n);
  expect(valueAt(arena, "bar0.NEW")).toBe(0x22n);
});

test.each<[string, NonNullable<PciDevice["upgrade"]>, RegExp]>([
  ["does not fit", () => ({ "bar0.SMALL": 0x100n }), /gives 0x100 for bar0\.SMALL, of 1 bytes/],
  ["is nowhere in the table", (old) => ({ ...old }), /gives bar0\.A, which the table does not have/],
  ["is of another type", () => ({ "bar0.SMALL": new Uint8Array(1) }), /gives object for bar0\.SMALL/],
  [
    "throws",
    () => {
      throw new Error("no idea");
    },
    /its upgrade\(\) failed: no idea/,
  ],
])("what upgrade() gives that %s is refused", (_, upgrade, what) => {
  expectRefused(written(), withRegisters({ SMALL: { at: 0, width: 1, rw: 0xff } }, { upgrade }), what);
});

test("a process that dies at any store of the move leaves the old layout with the old state, or the new with the new", () => {
  const next = withRegisters({ A: { at: 0x20, rw: ALL }, B: { at: 0, rw: ALL, reset: 5 }, ID: { at: 8, reset: 7 } });
  const whole = written();
  const old = JSON.stringify(everything(whole), shown);
  takeOver(whole, [next]);
  const moved = JSON.stringify(everything(whole), shown);
  const outcomes = new Set<string>();
  for (let store = 1; ; store += 1) {
    const arena = written();
    const setWord = arena.setWord.bind(arena);
    let left = store;
    arena.setWord = (word, value) => {
      left -= 1;
      if (left === 0) throw new Died();
      setWord(word, value);
    };
    const plan = planAgain(arena, requestsOf([next]));
    arena.beginHost();
    try {
      takeState(arena, plan);
    } catch (error) {
      if (!(error instanceof Died)) throw error;
    }
    const heir = Arena.open(arena.u8.slice().buffer);
    expect(heir.recover()).toBeGreaterThanOrEqual(0);
    const found = JSON.stringify(everything(heir), shown);
    expect(found).toBe(old);
    takeOver(heir, [next]);
    outcomes.add(JSON.stringify(everything(heir), shown));
    if (left > 0) break;
  }
  expect([...outcomes]).toEqual([moved]);
});

test("where there is no room to move, that is refused before anything changes", () => {
  const arena = arenaOf([withRegisters({ A: { at: 0, rw: ALL } }, { state: { heap: { bytes: 4096 } } })], {
    data: 64,
    layout: 65_536,
  });
  expect(() =>
    takeOver(arena, [withRegisters({ A: { at: 0, rw: ALL } }, { state: { heap: { bytes: 8192 } } })]),
  ).toThrow(expect.objectContaining({ code: "ARENA_FULL" }) as Error);
  const cramped = arenaOf([withRegisters({})], { data: 4096, layout: 8 });
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`R${i}`, { at: i * 4 }]));
  expect(() => takeOver(cramped, [withRegisters(many)])).toThrow(/bytes to name all registers/);
});

test("the same tables again change nothing", () => {
  const arena = written();
  const file = Buffer.from(arena.u8.slice());
  takeOver(arena, [before]);
  expect(arena.header("layoutChanges")).toBe(0);
  expect(Buffer.compare(arena.u8.subarray(arena.dataAt), file.subarray(arena.dataAt))).toBe(0);
});

class Died extends Error {}

const shown = (_key: string, value: unknown): unknown => (typeof value === "bigint" ? value.toString(16) : value);
