// SPDX-License-Identifier: MIT
import { msixProbe } from "../../src/devices/msix-probe.js";
import { Machine, MEMORY } from "../support/machine.js";

const R = {
  VECTORS: 0x00, ALLOWED: 0x04, FIRE: 0x08, LINE: 0x0c, ASKED: 0x10, SENT: 0x14, WAITED: 0x18, LATE: 0x1c,
  MERGED: 0x20, LOST: 0x24, SELECT: 0x40, VECTOR_ASKED: 0x44, VECTOR_SENT: 0x48, VECTOR_WAITED: 0x4c,
  VECTOR_LATE: 0x50,
} as const; // biome-ignore format: a table
type Name = keyof typeof R;

const CAP = { power: 0x40, msi: 0x48, express: 0x60, msix: 0x9c } as const;
const TABLE = MEMORY + 0x0100_0000;
const PBA = { one: TABLE + 0x8000, two: MEMORY + 0x0200_0000 } as const;
const COMMAND = 0x04;

function build(options = {}) {
  const machine = new Machine([{ device: msixProbe, options }]);
  machine.place();
  const read = (name: Name): number => machine.read(MEMORY + R[name]);
  const write = (name: Name, value: number): void => machine.write(MEMORY + R[name], value);
  return {
    machine,
    read,
    write,
    fire: (...vectors: number[]): void => {
      for (const vector of vectors) write("FIRE", vector);
    },
    counts: (): Record<string, number> =>
      Object.fromEntries((["ASKED", "SENT", "WAITED", "LATE", "MERGED", "LOST"] as const).map((n) => [n, read(n)])),
    countsOf: (message: number): number[] => {
      write("SELECT", message);
      return (["VECTOR_ASKED", "VECTOR_SENT", "VECTOR_WAITED", "VECTOR_LATE"] as const).map(read);
    },
    msix: (control = 0x8000): void => machine.configWrite(0, CAP.msix + 2, control, 2),
    entry: (vector: number, control: number): void => {
      for (const [at, value] of [[0, 0xfee0_0000], [4, 0], [8, 0x30 + vector], [12, control]] as const) // biome-ignore format: a table
        machine.write(TABLE + vector * 16 + at, value);
    },
    msi: (log2: number): void => {
      machine.configWrite(0, CAP.msi + 4, 0xfee0_0000);
      machine.configWrite(0, CAP.msi + 0x0c, 0x4140, 2);
      machine.configWrite(0, CAP.msi + 2, 1 | (log2 << 4), 2);
    },
  };
}

test("says how many messages it has and how many the guest allows", () => {
  const { read, msix, msi } = build({ vectors: 40 });
  expect([read("VECTORS"), read("ALLOWED")]).toEqual([40, 0]);
  msix();
  expect(read("ALLOWED")).toBe(40);
  msix(0);
  msi(2);
  expect(read("ALLOWED")).toBe(4);
});

test.each([
  [1, 0],
  [8, 3],
  [31, 4],
  [2048, 5],
])("with %i vectors it has 2^%i by MSI", (vectors, log2) => {
  const { machine } = build({ vectors });
  expect((machine.configRead(0, CAP.msi + 2, 2) >>> 1) & 7).toBe(log2);
  expect((machine.configRead(0, CAP.msix + 2, 2) & 0x7ff) + 1).toBe(vectors);
});

test("a message of its own for each of 2048 vectors, the last included", () => {
  const { machine, msix, entry, fire, countsOf } = build({ vectors: 2048 });
  msix();
  for (const vector of [0, 31, 32, 2047]) entry(vector, 0);
  fire(0, 31, 32, 2047, 2048);
  expect(machine.asked).toEqual([0x30, 0x4f, 0x50, 0x82f].map((data) => `msi 0xfee00000 0x${data.toString(16)}`));
  expect([countsOf(2047), countsOf(2048), countsOf(0xffff_ffff)]).toEqual([
    [1, 1, 0, 0],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ]);
});

describe.each(["one", "two"] as const)("with layout=%s", (layout) => {
  test("what is masked is pending, merged with the next of its number, and sent once when it is unmasked", () => {
    const { machine, msix, entry, fire, counts, countsOf } = build({ layout });
    msix();
    entry(3, 1);
    entry(4, 0);
    fire(3, 4, 3, 3);
    expect(machine.asked).toEqual(["msi 0xfee00000 0x34"]);
    expect(machine.read(PBA[layout])).toBe(0b1000);
    expect(counts()).toEqual({ ASKED: 4, SENT: 1, WAITED: 1, LATE: 0, MERGED: 2, LOST: 0 });
    entry(3, 0);
    expect(machine.asked).toEqual(["msi 0xfee00000 0x34", "msi 0xfee00000 0x33"]);
    expect(machine.read(PBA[layout])).toBe(0);
    expect(counts()).toEqual({ ASKED: 4, SENT: 2, WAITED: 1, LATE: 1, MERGED: 2, LOST: 0 });
    expect([countsOf(3), countsOf(4)]).toEqual([
      [3, 1, 1, 1],
      [1, 1, 0, 0],
    ]);
  });
});

test("what waits for the whole function, or for bus mastering, waited too", () => {
  const { machine, msix, entry, fire, counts } = build();
  entry(0, 0);
  msix(0xc000);
  fire(0);
  msix();
  machine.configWrite(0, COMMAND, 0x0002, 2);
  fire(0);
  expect(counts()).toMatchObject({ SENT: 1, WAITED: 2, LATE: 1 });
  machine.configWrite(0, COMMAND, 0x0006, 2);
  expect(counts()).toEqual({ ASKED: 2, SENT: 2, WAITED: 2, LATE: 2, MERGED: 0, LOST: 0 });
  expect(machine.asked.filter((line) => line.startsWith("msi"))).toHaveLength(2);
});

test("what is asked for while nothing is enabled, or beyond the table, is lost", () => {
  const { machine, msix, fire, counts } = build();
  fire(0);
  msix();
  fire(8, 0xffff_ffff);
  expect(machine.asked).toEqual([]);
  expect(counts()).toEqual({ ASKED: 3, SENT: 0, WAITED: 0, LATE: 0, MERGED: 0, LOST: 3 });
});

test("messages that MSI folds into one are counted as that one", () => {
  const { machine, msi, fire, counts, countsOf } = build();
  msi(1);
  fire(0, 1, 5);
  expect(machine.asked).toEqual(["0", "1", "1"].map((low) => `msi 0xfee00000 0x414${low}`));
  machine.configWrite(0, CAP.msi + 0x10, 0b10);
  fire(5, 7);
  expect([countsOf(1), countsOf(5)]).toEqual([
    [4, 2, 1, 0],
    [0, 0, 0, 0],
  ]);
  expect(counts()).toEqual({ ASKED: 5, SENT: 3, WAITED: 1, LATE: 0, MERGED: 1, LOST: 0 });
});

test("what waits by MSI goes on waiting while MSI-X is used, and neither is counted as the other", () => {
  const { machine, msi, msix, entry, fire, counts, countsOf } = build();
  msi(3);
  machine.configWrite(0, CAP.msi + 0x10, 0x20);
  fire(5);
  machine.configWrite(0, CAP.msi + 2, 0, 2);
  msix();
  entry(5, 1);
  fire(5);
  expect(counts()).toMatchObject({ SENT: 0, WAITED: 2, LATE: 0 });
  entry(5, 0);
  expect(counts()).toMatchObject({ SENT: 1, WAITED: 2, LATE: 1 });
  expect(countsOf(5)).toEqual([2, 1, 2, 1]);
});

test("LINE pulls the pin, while no messages are enabled", () => {
  const { machine, write, msix } = build();
  write("LINE", 1);
  msix();
  msix(0);
  write("LINE", 0);
  expect(machine.asked).toEqual(["raise", "lower", "raise", "lower"].map((what) => `intx 10.A ${what}`));
});

test("a successor sends what waited, and counts go on where they stood", () => {
  const { machine, msix, entry, fire } = build();
  msix();
  entry(2, 1);
  fire(2);
  const heir = build();
  heir.machine.restore(machine.data());
  heir.machine.reconnect();
  expect(heir.counts()).toEqual({ ASKED: 1, SENT: 0, WAITED: 1, LATE: 0, MERGED: 0, LOST: 0 });
  heir.entry(2, 0);
  expect(heir.machine.asked.filter((line) => line.startsWith("msi"))).toEqual(["msi 0xfee00000 0x32"]);
  expect(heir.counts()).toEqual({ ASKED: 1, SENT: 1, WAITED: 1, LATE: 1, MERGED: 0, LOST: 0 });
});

test("a function level reset forgets all of it", () => {
  const { machine, msix, fire, counts } = build();
  msix();
  fire(1);
  machine.configWrite(0, CAP.express + 8, 0x8000, 2);
  machine.place();
  expect(counts()).toEqual({ ASKED: 0, SENT: 0, WAITED: 0, LATE: 0, MERGED: 0, LOST: 0 });
  expect(machine.read(PBA.one)).toBe(0);
});
