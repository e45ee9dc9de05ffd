// SPDX-License-Identifier: MIT
import { formatSbdf, sbdf } from "../../src/base/ids.js";
import { definePciDevice } from "../../src/pci/define.js";
import { planTree } from "../../src/pci/plan.js";
import { PciTree } from "../../src/pci/tree.js";
import { TYPE } from "../../src/spec/xen-ioreq.js";
import { Arena, arenaSize } from "../../src/state/arena.js";
import { Machine } from "../support/machine.js";

const ALL = 0xffff_ffff;
const BAR = (index: number): number => 0x10 + index * 4;
const COMMAND = 0x04;

const ident = { vendor: 0x1234, device: 0x0001, classCode: 0x00ff00 } as const;
const every = definePciDevice({
  name: "every",
  ident,
  intx: "A",
  bars: {
    0: { space: "mem32", size: 0x1000, regs: { A: { at: 0, rw: ALL } } },
    1: { space: "io", size: 0x20, regs: { P: { at: 0, rw: ALL } } },
    2: { space: "mem64", prefetchable: true, size: 0x1_0000, regs: { W: { at: 0, rw: ALL } } },
    4: { space: "mem32", prefetchable: true, size: 16, regs: { S: { at: 0, rw: ALL } } },
  },
  rom: Uint8Array.of(0x55, 0xaa, 3),
  attach({ bars: { 0: reg }, intx }) {
    reg.A.onWrite((raw) => {
      if (raw === 0) intx.lower();
      else intx.raise();
    });
  },
});

test("sizing: ones written to a BAR read back as its size, type bits as they are", () => {
  const machine = new Machine([every]);
  for (const index of [0, 1, 2, 3, 4, 5]) machine.configWrite(0, BAR(index), ALL);
  machine.configWrite(0, 0x30, 0xffff_fffe);
  expect(machine.configRead(0, BAR(0))).toBe(0xffff_f000);
  expect(machine.configRead(0, BAR(1))).toBe(0xffff_ffe1);
  expect(machine.configRead(0, BAR(2))).toBe(0xffff_000c);
  expect(machine.configRead(0, BAR(3))).toBe(0xffff_ffff);
  expect(machine.configRead(0, BAR(4))).toBe(0xffff_fff8);
  expect(machine.configRead(0, BAR(5))).toBe(0);
  expect(machine.configRead(0, 0x30)).toBe(0xffff_f800);
});

test("COMMAND decides what is decoded: ports and memory apart", () => {
  const machine = new Machine([every]);
  machine.configWrite(0, BAR(0), 0xf000_0000);
  machine.configWrite(0, BAR(1), 0xc000);
  machine.configWrite(0, COMMAND, 0x0001, 2);
  expect(machine.asked).toEqual(["map pio 0xc000-0xc01f"]);
  machine.configWrite(0, COMMAND, 0x0002, 2);
  expect(machine.asked.slice(1)).toEqual(["unmap pio 0xc000-0xc01f", "map mmio 0xf0000000-0xf0000fff"]);
});

test("a BAR written in one access moves once, however many bytes; new range before old", () => {
  const machine = new Machine([every]);
  machine.configWrite(0, BAR(0), 0xf000_0000);
  machine.configWrite(0, COMMAND, 2, 2);
  machine.asked.length = 0;
  machine.configWrite(0, BAR(0), 0xf123_4000);
  expect(machine.asked).toEqual(["map mmio 0xf1234000-0xf1234fff", "unmap mmio 0xf0000000-0xf0000fff"]);
});

test("sizing with decoding on claims nothing at the top of memory", () => {
  const machine = new Machine([every]);
  machine.configWrite(0, COMMAND, 3, 2);
  for (const index of [0, 1, 2, 4]) machine.configWrite(0, BAR(index), ALL);
  expect(machine.asked).toEqual([]);
});

test("a 64-bit BAR lives above 4 GiB, its halves written in either order", () => {
  for (const order of [
    [BAR(2), BAR(3)],
    [BAR(3), BAR(2)],
  ]) {
    const machine = new Machine([every]);
    for (const at of order) machine.configWrite(0, at, at === BAR(2) ? 0xc001_0000 : 0x12);
    machine.configWrite(0, COMMAND, 2, 2);
    expect(machine.asked).toEqual(["map mmio 0x12c0010000-0x12c001ffff"]);
    machine.post({ addr: 0x12_c001_0000n, data: 77n });
    expect(machine.post({ addr: 0x12_c001_0000n, flags: 0x20 })).toBe(77n);
  }
});

test("an address beyond what any machine has is not decoded", () => {
  const machine = new Machine([every]);
  machine.configWrite(0, BAR(3), 0x0010_0000);
  machine.configWrite(0, BAR(2), 0);
  machine.configWrite(0, COMMAND, 2, 2);
  expect(machine.asked).toEqual([]);
});

test("the expansion ROM is decoded when both enable bits are set", () => {
  const machine = new Machine([every]);
  machine.configWrite(0, 0x30, 0xf200_0000);
  machine.configWrite(0, COMMAND, 2, 2);
  expect(machine.asked).toEqual([]);
  machine.configWrite(0, 0x30, 0xf200_0001);
  expect(machine.asked).toEqual(["map mmio 0xf2000000-0xf20007ff"]);
  expect(machine.read(0xf200_0000)).toBe(0xff03_aa55);
  machine.write(0xf200_0000, 0);
  expect(machine.read(0xf200_0000, 1)).toBe(0x55);
});

test("two BARs on one address: one range with Xen, the first function answers", () => {
  const machine = new Machine([every, { device: every, sbdf: sbdf(0, 0, 0x1f, 0) }]);
  for (const fn of [0, 1]) {
    machine.configWrite(fn, BAR(0), 0xf000_0000);
    machine.configWrite(fn, COMMAND, 2, 2);
  }
  expect(machine.asked).toEqual(["map mmio 0xf0000000-0xf0000fff"]);
  machine.write(0xf000_0000, 1);
  expect(machine.asked.at(-1)).toBe("intx 10.A raise");
  machine.configWrite(0, COMMAND, 0, 2);
  machine.write(0xf000_0000, 1);
  expect(machine.asked.slice(-1)).toEqual(["intx 1f.A raise"]);
  expect(machine.asked.filter((line) => line.startsWith("unmap"))).toEqual([]);
});

test("a BAR over another is told once, and again when it comes to be elsewhere", () => {
  const machine = new Machine([every, every]);
  machine.configWrite(0, BAR(0), 0xf000_0000);
  machine.configWrite(1, BAR(0), 0xf000_0000);
  for (const fn of [0, 1]) machine.configWrite(fn, COMMAND, 2, 2);
  machine.configWrite(1, 0x0c, 1, 1);
  const told = "address range hidden: 0000:00:11.0 every bar0 by 0000:00:10.0 every bar0 at 0xf0000000";
  expect(machine.said).toEqual([told]);
  machine.configWrite(1, BAR(0), 0xf100_0000);
  machine.configWrite(1, BAR(0), 0xf000_0000);
  expect(machine.said).toEqual([told, told]);
});

test.each([1, 2, 4, 8])(
  "moving a BAR by accesses of %i bytes: one range mapped for each place it had, one unmapped",
  (width) => {
    const machine = new Machine([every]);
    machine.configWrite(0, BAR(2), 0xf100_000c);
    machine.configWrite(0, COMMAND, 2, 2);
    machine.asked.length = 0;
    const at = machine.configAddress(0, BAR(2));
    const value = 0x0000_0000_f200_000cn;
    for (let i = 0; i < 8; i += width) {
      const data = (value >> BigInt(i * 8)) & (2n ** BigInt(width * 8) - 1n);
      machine.post({ type: TYPE.pciConfig, addr: at + BigInt(i), data, width });
    }
    expect(machine.asked).toEqual(["map mmio 0xf2000000-0xf200ffff", "unmap mmio 0xf1000000-0xf100ffff"]);
  },
);

test("a range that Xen has no room for is told, and asked for again with the next change", () => {
  const machine = new Machine([every]);
  machine.rangesLeft = 1;
  machine.configWrite(0, BAR(0), 0xf000_0000);
  machine.configWrite(0, BAR(4), 0xf200_0000);
  machine.configWrite(0, COMMAND, 2, 2);
  expect(machine.tree.claimed("mmio")).toHaveLength(1);
  expect(machine.said).toEqual(["map mmio range: Error: no range is left"]);
  machine.rangesLeft = 9;
  machine.configWrite(0, 0x0c, 1, 1);
  expect(machine.tree.claimed("mmio")).toHaveLength(2);
});

test("BARs that touch are one range, and leave it one by one", () => {
  const machine = new Machine([every]);
  machine.configWrite(0, BAR(0), 0xf000_0000);
  machine.configWrite(0, BAR(2), 0xf001_0000);
  machine.configWrite(0, BAR(4), 0xf000_1000);
  machine.configWrite(0, COMMAND, 2, 2);
  expect(machine.tree.claimed("mmio")).toHaveLength(2);
  machine.configWrite(0, BAR(4), 0);
  expect(machine.asked.at(-1)).toBe("unmap mmio 0xf0001000-0xf000100f");
});

test("INTx: the status bit follows the device, the line COMMAND too", () => {
  const machine = new Machine([every]);
  machine.place();
  machine.write(0xf000_0000, 1);
  expect(machine.configRead(0, 0x06, 2) & 0x08).toBe(0x08);
  machine.configWrite(0, COMMAND, 0x0407, 2);
  expect(machine.configRead(0, 0x06, 2) & 0x08).toBe(0x08);
  machine.configWrite(0, COMMAND, 0x0007, 2);
  machine.write(0xf000_0000, 0);
  expect(machine.asked).toEqual(["intx 10.A raise", "intx 10.A lower", "intx 10.A raise", "intx 10.A lower"]);
});

test("functions that share a pin share its wire", () => {
  const machine = new Machine([
    { device: every, sbdf: sbdf(0, 0, 5, 0) },
    { device: every, sbdf: sbdf(0, 0, 5, 3) },
  ]);
  machine.place(0);
  machine.place(1);
  machine.write(0xf000_0000, 1);
  machine.write(0xf800_0000, 1);
  machine.write(0xf000_0000, 0);
  machine.write(0xf800_0000, 0);
  expect(machine.asked).toEqual(["intx 5.A raise", "intx 5.A lower"]);
});

test("several functions in a slot say so in their header type; one alone does not", () => {
  const several = new Machine([
    { device: every, sbdf: sbdf(0, 0, 5, 0) },
    { device: every, sbdf: sbdf(0, 0, 5, 1) },
  ]);
  expect(several.configRead(0, 0x0e, 1)).toBe(0x80);
  expect(new Machine([every]).configRead(0, 0x0e, 1)).toBe(0);
});

test("one that shares its slot with another process's says so, and needs no function 0 here", () => {
  const shares = (fn: number): Machine => new Machine([{ device: every, sbdf: sbdf(0, 0, 5, fn), sharesSlot: true }]);
  for (const fn of [0, 1]) expect(shares(fn).configRead(0, 0x0e, 1)).toBe(0x80);
});

test("ids are read-only, and status errors are cleared by ones", () => {
  const machine = new Machine([every]);
  machine.configWrite(0, 0x00, ALL);
  expect(machine.configRead(0, 0x00)).toBe(0x0001_1234);
});

test.each([
  ["a device on a slot that is taken", [sbdf(0, 0, 5, 0), sbdf(0, 0, 5, 0)], "where every is already"],
  ["a device on another bus", [sbdf(0, 1, 5, 0)], "the root buses (segment:bus) are 0:0"],
  ["a function without a function 0", [sbdf(0, 0, 5, 1)], "without function 0"],
])("%s is refused before anything is created", (_name, addresses, message) => {
  expect(() => new Machine(addresses.map((at) => ({ device: every, sbdf: at })))).toThrow(message);
});

test.each([
  ["a BAR of 100 bytes", { 0: { space: "mem32", size: 100 } }, "a power of two from 16"],
  ["512 ports", { 0: { space: "io", size: 512 } }, "a power of two from 4 to 256"],
  ["a mem64 in the last BAR", { 5: { space: "mem64", size: 4096 } }, "BAR 5 (mem64) does not fit"],
  [
    "a BAR in another's upper half",
    { 0: { space: "mem64", size: 4096 }, 1: { space: "io", size: 16 } },
    "BAR 1 (io) does not fit",
  ],
] as const)("%s is refused", (_name, bars, message) => {
  expect(() => new Machine([definePciDevice({ name: "wrong", ident, bars })])).toThrow(message);
});

test("a function is claimed once; one that the hypervisor refuses is told to whoever asked, else counted", () => {
  const asked: string[] = [];
  let refusing = true;
  const plan = planTree([0, 1].map((fn) => ({ device: every, sbdf: sbdf(0, 0, 0x10, fn), options: {} })));
  const size = arenaSize(plan.dataLength, plan.layout);
  const arena = Arena.create(new ArrayBuffer(size), plan.dataLength, plan.layout);
  const tree = new PciTree(plan, arena);
  tree.connect({
    refuseTaken: () => {},
    mapFunction: (at) => {
      if (refusing) throw new Error("no more");
      asked.push(`claim ${formatSbdf(at)}`);
    },
    unmapFunction: (at) => asked.push(`give up ${formatSbdf(at)}`),
    mapRange: () => {},
    unmapRange: () => {},
    setIntx: () => {},
    noticed: () => {},
    mapWindow: () => {},
    unmapWindow: () => {},
    sendMessage: () => {},
    refused: (what) => asked.push(`refused to ${what}`),
  });
  expect(() => tree.claimFunctions()).toThrow("no more");
  tree.flush();
  expect(asked.splice(0)).toEqual(["refused to claim a function", "refused to claim a function"]);
  refusing = false;
  tree.claimFunctions();
  tree.flush();
  expect(asked).toEqual(["claim 0000:00:10.0", "claim 0000:00:10.1"]);
});
