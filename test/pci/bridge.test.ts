// SPDX-License-Identifier: MIT
import fc from "fast-check";
import { type Sbdf, sbdf } from "../../src/base/ids.js";
import { pciBridge } from "../../src/devices/pci-bridge.js";
import { msi } from "../../src/pci/capabilities/interrupts.js";
import { definePciDevice } from "../../src/pci/define.js";
import { DIR_READ, TYPE } from "../../src/spec/xen-ioreq.js";
import { Machine } from "../support/machine.js";

const ALL = 0xffff_ffff;
const COMMAND = 0x04;
const at = (device: number, fn = 0): Sbdf => sbdf(0, 0, device, fn);

const leaf = definePciDevice({
  name: "leaf",
  ident: { vendor: 0x1234, device: 0x0004, classCode: 0x00ff00 },
  intx: "A",
  bars: {
    0: { space: "mem32", size: 0x1000, regs: { A: { at: 0, rw: ALL } } },
    1: { space: "io", size: 0x20, regs: { P: { at: 0, rw: ALL } } },
    2: { space: "mem64", prefetchable: true, size: 0x1000, regs: { W: { at: 0, rw: ALL } } },
  },
  capabilities: [msi({ vectors: 1 })],
  attach({ bars: { 0: reg }, intx, msi: messages }) {
    reg.A.onWrite((raw) => {
      messages.send(0);
      if (raw === 0) intx.lower();
      else intx.raise();
    });
  },
});

/** Writes to configuration space by address, as a guest that enumerates does. */
class Bus {
  constructor(readonly machine: Machine) {}

  read(where: Sbdf, offset: number, width = 4): number {
    const addr = (BigInt(where) << 32n) | BigInt(offset);
    return Number(this.machine.post({ type: TYPE.pciConfig, flags: DIR_READ, addr, width }));
  }

  write(where: Sbdf, offset: number, value: number, width = 4): void {
    const addr = (BigInt(where) << 32n) | BigInt(offset);
    this.machine.post({ type: TYPE.pciConfig, addr, data: BigInt(value >>> 0), width });
  }

  /** Bus numbers, windows for memory and ports, everything on. */
  open(bridge: Sbdf, secondary: number, subordinate: number, base = 0xf000_0000, limit = 0xf0ff_ffff): void {
    this.write(bridge, 0x18, (subordinate << 16) | (secondary << 8));
    this.write(bridge, 0x20, ((limit >>> 16) << 16) | (base >>> 16));
    this.write(bridge, 0x1c, 0xd0c0, 2);
    this.write(bridge, COMMAND, 7, 2);
  }

  place(where: Sbdf, memory: number, ports = 0xc000): void {
    this.write(where, 0x10, memory);
    this.write(where, 0x14, ports);
    this.write(where, COMMAND, 7, 2);
  }
}

const oneBehind = (): Bus =>
  new Bus(
    new Machine([
      { device: pciBridge, sbdf: at(0x10), id: "b" },
      { device: leaf, sbdf: at(3), bus: "b" },
    ]),
  );

test("a bridge has a header of type 1; what is behind it is not there before it has a bus number", () => {
  const bus = oneBehind();
  expect(bus.read(at(0x10), 0x0e, 1)).toBe(0x01);
  expect(bus.read(sbdf(0, 1, 3, 0), 0)).toBe(ALL);
  expect(bus.machine.tree.functions.map(({ label }) => label)).toEqual([
    "0000:00:10.0 pci-bridge",
    "0000:00:10.0/03.0 leaf",
  ]);
});

test("bus numbers put what is behind where they say, and tell Xen: the new address before the old is gone", () => {
  const bus = oneBehind();
  bus.write(at(0x10), 0x18, 0x0002_0100);
  expect(bus.read(sbdf(0, 1, 3, 0), 0)).toBe(0x0004_1234);
  bus.write(at(0x10), 0x18, 0x0007_0500);
  expect(bus.read(sbdf(0, 1, 3, 0), 0)).toBe(ALL);
  expect(bus.read(sbdf(0, 5, 3, 0), 0)).toBe(0x0004_1234);
  expect(bus.machine.asked.filter((line) => /^(claim|give up)/.test(line))).toEqual([
    "claim 0000:01:03.0",
    "claim 0000:05:03.0",
    "give up 0000:01:03.0",
  ]);
});

test("a BAR behind a bridge is decoded so far as the bridge's windows reach", () => {
  const bus = oneBehind();
  bus.open(at(0x10), 1, 1, 0xf000_0000, 0xf00f_ffff);
  bus.place(sbdf(0, 1, 3, 0), 0xf000_2000);
  bus.machine.write(0xf000_2000, 77);
  expect(bus.machine.read(0xf000_2000)).toBe(77);
  bus.write(sbdf(0, 1, 3, 0), 0x10, 0xf010_0000);
  expect(bus.machine.read(0xf010_0000)).toBe(ALL);
  expect(bus.machine.tree.claimed("mmio")).toEqual([]);
});

test("ports too, in windows of 4 KiB", () => {
  const bus = oneBehind();
  bus.open(at(0x10), 1, 1);
  bus.place(sbdf(0, 1, 3, 0), 0xf000_0000, 0xd100);
  bus.machine.out(0xd100, 0x5a);
  expect(bus.machine.in(0xd100)).toBe(0x5a);
  bus.write(sbdf(0, 1, 3, 0), 0x14, 0xe100);
  expect(bus.machine.in(0xe100)).toBe(0xff);
});

test("the prefetchable window is 64 bits wide, and any memory may lie in it", () => {
  const bus = oneBehind();
  bus.open(at(0x10), 1, 1);
  bus.write(at(0x10), 0x24, 0x0001_0001);
  bus.write(at(0x10), 0x28, 0x12);
  bus.write(at(0x10), 0x2c, 0x12);
  bus.write(sbdf(0, 1, 3, 0), 0x18, 0x1000);
  bus.write(sbdf(0, 1, 3, 0), 0x1c, 0x12);
  bus.write(sbdf(0, 1, 3, 0), COMMAND, 7, 2);
  bus.machine.post({ addr: 0x12_0000_1000n, data: 99n });
  expect(bus.machine.post({ addr: 0x12_0000_1000n, flags: DIR_READ })).toBe(99n);
});

test("a window whose base is above its limit is closed", () => {
  const bus = oneBehind();
  bus.open(at(0x10), 1, 1, 0xf010_0000, 0xf00f_ffff);
  bus.place(sbdf(0, 1, 3, 0), 0xf010_0000);
  expect(bus.machine.read(0xf010_0000)).toBe(ALL);
});

test("COMMAND of the bridge switches its windows, and whether a bus master behind it comes through", () => {
  const bus = oneBehind();
  bus.open(at(0x10), 1, 1);
  bus.place(sbdf(0, 1, 3, 0), 0xf000_0000);
  bus.write(sbdf(0, 1, 3, 0), 0x44, 0xfee0_0000);
  bus.write(sbdf(0, 1, 3, 0), 0x4c, 0x41, 2);
  bus.write(sbdf(0, 1, 3, 0), 0x42, 1, 2);
  bus.write(at(0x10), COMMAND, 3, 2);
  bus.machine.write(0xf000_0000, 1);
  expect(bus.machine.asked).not.toContain("msi 0xfee00000 0x41");
  bus.write(at(0x10), COMMAND, 7, 2);
  expect(bus.machine.asked).toContain("msi 0xfee00000 0x41");
  bus.write(at(0x10), COMMAND, 0, 2);
  expect(bus.machine.read(0xf000_0000)).toBe(ALL);
});

test("pins are swizzled on their way down to the root bus", () => {
  const bus = new Bus(
    new Machine([
      { device: pciBridge, sbdf: at(0x10), id: "a" },
      { device: pciBridge, sbdf: at(2), id: "b", bus: "a" },
      { device: leaf, sbdf: at(3), bus: "b" },
    ]),
  );
  bus.open(at(0x10), 1, 2);
  bus.open(sbdf(0, 1, 2, 0), 2, 2);
  bus.place(sbdf(0, 2, 3, 0), 0xf000_0000);
  bus.machine.write(0xf000_0000, 1);
  // Pin A of device 3 is pin D of its bridge, device 2, whose pin D is pin B of device 10.
  expect(bus.machine.asked.at(-1)).toBe("intx 10.B raise");
});

test("resetting the bus behind resets all that is there, however deep, and nothing else", () => {
  const bus = new Bus(
    new Machine([
      { device: pciBridge, sbdf: at(0x10), id: "a" },
      { device: pciBridge, sbdf: at(2), id: "b", bus: "a" },
      { device: leaf, sbdf: at(3), bus: "b" },
      { device: leaf, sbdf: at(0x11) },
    ]),
  );
  bus.open(at(0x10), 1, 2);
  bus.open(sbdf(0, 1, 2, 0), 2, 2);
  bus.place(sbdf(0, 2, 3, 0), 0xf000_0000);
  bus.place(at(0x11), 0xf200_0000, 0xa000);
  bus.write(at(0x10), 0x3e, 0x40, 2);
  expect(bus.machine.read(0xf000_0000)).toBe(ALL);
  expect(bus.read(sbdf(0, 1, 2, 0), 0x18)).toBe(0);
  expect(bus.read(sbdf(0, 2, 3, 0), 0)).toBe(ALL);
  expect(bus.machine.read(0xf200_0000)).toBe(0);
  expect(bus.read(at(0x10), 0x18) & 0xff_ffff).toBe(0x02_0100);
});

test.each([
  ["the bus the bridge is on", 0x0003_0000, []],
  ["a range that ends before it begins", 0x0001_0300, []],
  ["a bus that a bridge before it has", 0x0001_0100, ["0000:01:03.0"]],
])("a bridge with %s passes nothing on, and the log says so", (_what, numbers, reached) => {
  const bus = new Bus(
    new Machine([
      { device: pciBridge, sbdf: at(0x10), id: "a" },
      { device: leaf, sbdf: at(3), bus: "a" },
      { device: pciBridge, sbdf: at(0x11), id: "b" },
      { device: leaf, sbdf: at(4), bus: "b" },
    ]),
  );
  if (reached.length > 0) bus.write(at(0x10), 0x18, 0x0001_0100);
  bus.write(at(0x11), 0x18, numbers);
  expect(bus.read(sbdf(0, 0, 4, 0), 0)).toBe(ALL);
  expect(bus.read(sbdf(0, 1, 4, 0), 0)).toBe(ALL);
  expect(bus.machine.asked.filter((line) => /claim .*:0[1-9]:/.test(line))).toEqual(
    reached.map((where) => `claim ${where}`),
  );
  const numbered = (numbers & 0xff00) !== 0;
  expect(bus.machine.said).toEqual(numbered ? [expect.stringContaining("0000:00:11.0 pci-bridge")] : []);
});

test("a bridge behind another has its buses within those of the one above", () => {
  const bus = new Bus(
    new Machine([
      { device: pciBridge, sbdf: at(0x10), id: "a" },
      { device: pciBridge, sbdf: at(2), id: "b", bus: "a" },
      { device: leaf, sbdf: at(3), bus: "b" },
    ]),
  );
  bus.write(at(0x10), 0x18, 0x0002_0100);
  bus.write(sbdf(0, 1, 2, 0), 0x18, 0x0003_0301);
  expect(bus.read(sbdf(0, 3, 3, 0), 0)).toBe(ALL);
  bus.write(sbdf(0, 1, 2, 0), 0x18, 0x0002_0201);
  expect(bus.read(sbdf(0, 2, 3, 0), 0)).toBe(0x0004_1234);
});

const register = fc.constantFrom(0x04, 0x10, 0x14, 0x18, 0x19, 0x1a, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x3e, 0x44);
const value = fc.oneof(fc.nat(ALL), fc.constantFrom(0, 7, ALL, 0x0002_0100, 0x0003_0302, 0xf00f_f000));
const write = fc.tuple(fc.constantFrom(0, 1, 2, 3, 4), register, fc.constantFrom(1, 2, 4), value);

test("whatever a guest writes, ranges lie in the windows above, and what is claimed is what is decoded", () => {
  fc.assert(
    fc.property(fc.array(write, { maxLength: 60 }), (writes) => {
      const machine = new Machine([
        { device: pciBridge, sbdf: at(0x10), id: "a" },
        { device: leaf, sbdf: at(3), bus: "a" },
        { device: pciBridge, sbdf: at(2), id: "b", bus: "a" },
        { device: leaf, sbdf: at(3), bus: "b" },
        { device: pciBridge, sbdf: at(0x11), id: "c" },
      ]);
      const open = { pio: new Set<string>(), mmio: new Set<string>() };
      for (const [index, offset, width, data] of writes) {
        const where = machine.tree.functions[index]?.sbdf;
        if (where !== null && where !== undefined) new Bus(machine).write(where, offset, data, width);
        for (const line of machine.asked.splice(0)) {
          const [what, space, range] = line.split(" ") as [string, "pio" | "mmio", string];
          if (!(space in open)) continue;
          if (what === "map") open[space].add(range);
          else open[space].delete(range);
        }
      }
      for (const space of ["pio", "mmio"] as const) {
        const claimed = machine.tree.claimed(space);
        const total = claimed.reduce((sum, { first, last }) => sum + last - first + 1, 0);
        const mapped = [...open[space]].map((range) => range.split("-").map(Number) as [number, number]);
        expect(mapped.reduce((sum, [first, last]) => sum + last - first + 1, 0)).toBe(total);
        for (const fn of machine.tree.functions) {
          const windows = fn.parent?.passes(space);
          for (const { base, size, within } of fn.regions(space)) {
            expect(within).toEqual(windows);
            expect(size).toBeLessThanOrEqual(0x1000);
            expect(base).toBeGreaterThan(0);
          }
        }
      }
      expect(machine.counters.handlerErrors).toBe(0);
      machine.end();
    }),
    { numRuns: 100_000, interruptAfterTimeLimit: 1500 },
  );
});

test.each([
  [
    "a bus nobody has",
    [{ device: leaf, sbdf: at(3), bus: "x" }],
    /bus=x, but no device has that id; bridges with an id: none/,
  ],
  [
    "a bus of what is no bridge",
    [
      { device: leaf, sbdf: at(3), id: "l" },
      { device: leaf, sbdf: at(4), bus: "l" },
    ],
    /that is leaf, which is no bridge/,
  ],
  [
    "one id for two",
    [
      { device: pciBridge, sbdf: at(3), id: "l" },
      { device: pciBridge, sbdf: at(4), id: "l" },
    ],
    /two devices have id=l/,
  ],
  [
    "bridges behind each other in a circle",
    [
      { device: pciBridge, sbdf: at(3), id: "a", bus: "b" },
      { device: pciBridge, sbdf: at(4), id: "b", bus: "a" },
    ],
    /which is behind itself/,
  ],
  [
    "one slot for two behind a bridge",
    [
      { device: pciBridge, sbdf: at(3), id: "a" },
      { device: leaf, sbdf: at(4), bus: "a" },
      { device: leaf, sbdf: at(4), bus: "a" },
    ],
    /0000:00:03.0\/04.0, where leaf is already/,
  ],
])("%s is refused before anything is created", (_what, devices, message) => {
  expect(() => new Machine(devices)).toThrow(message);
});
