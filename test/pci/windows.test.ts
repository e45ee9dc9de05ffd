// SPDX-License-Identifier: MIT
import { type Sbdf, sbdf } from "../../src/base/ids.js";
import { pciBridge } from "../../src/devices/pci-bridge.js";
import { q35Host } from "../../src/devices/q35-host.js";
import { expressEndpoint } from "../../src/pci/capabilities/express.js";
import { vendorSpecific } from "../../src/pci/capabilities/vendor.js";
import { definePciDevice } from "../../src/pci/define.js";
import type { EcamWindow } from "../../src/pci/windows.js";
import { DIR_READ, TYPE } from "../../src/spec/xen-ioreq.js";
import { Machine } from "../support/machine.js";

const ALL = 0xffff_ffff;
const BASE = 0xe000_0000;
const at = (device: number, fn = 0): Sbdf => sbdf(0, 0, device, fn);
const ecam = (more: Partial<EcamWindow> = {}): EcamWindow => ({
  base: BASE,
  firstBus: 0,
  buses: 256,
  claim: "functions",
  ...more,
});

const rows = {
  SCRATCH: { at: 4, rw: ALL },
  BYTE: { at: 9, width: 1, rw: 0xff },
  WORD: { at: 10, width: 2, rw: 0xffff },
} as const;
const express = definePciDevice({
  name: "express",
  ident: { vendor: 0x1234, device: 0x0005, classCode: 0x00ff00 },
  bars: {
    0: { space: "mem32", size: 0x1000, regs: { A: { at: 0, rw: ALL } } },
    1: { space: "io", size: 16, regs: { P: { at: 0, rw: ALL } } },
  },
  capabilities: [vendorSpecific({ regs: rows }), expressEndpoint()],
  config: { LAST: { at: 0xffc, rw: ALL } },
});
const plain = definePciDevice({
  ...express,
  name: "plain",
  capabilities: [vendorSpecific({ regs: rows })],
  config: {},
});

const page = (where: Sbdf): number => BASE + where * 4096;

describe("ECAM", () => {
  test("claims the pages of our functions, and those of no one else", () => {
    const machine = new Machine(
      [
        { device: express, sbdf: at(0x10) },
        { device: plain, sbdf: at(0x10, 1) },
        { device: plain, sbdf: at(0x12) },
      ],
      [{ segment: 0, bus: 0, ecam: ecam() }],
    );
    expect(machine.tree.claimed("mmio")).toEqual([
      { first: page(at(0x10)), last: page(at(0x10, 1)) + 4095 },
      { first: page(at(0x12)), last: page(at(0x12)) + 4095 },
    ]);
  });

  test("or the whole window, with all ones for empty slots, as Arm wants it", () => {
    const machine = new Machine(
      [{ device: plain, sbdf: at(0x10) }],
      [{ segment: 0, bus: 0, ecam: ecam({ claim: "window" }) }],
    );
    expect(machine.tree.claimed("mmio")).toEqual([{ first: BASE, last: BASE + (256 << 20) - 1 }]);
    expect(machine.read(page(at(0x11)))).toBe(ALL);
    expect(machine.read(page(sbdf(0, 255, 31, 7)) + 4092)).toBe(ALL);
    machine.write(page(at(0x11)), 1);
    expect(machine.read(page(at(0x10)))).toBe(0x0005_1234);
  });

  test("reaches offset 0xfff of an Express function, and ones beyond 0xff of another", () => {
    const machine = new Machine(
      [
        { device: express, sbdf: at(0x10) },
        { device: plain, sbdf: at(0x11) },
      ],
      [{ segment: 0, bus: 0, ecam: ecam() }],
    );
    machine.write(page(at(0x10)) + 0xffc, 0x1234_5678);
    expect(machine.read(page(at(0x10)) + 0xfff, 1)).toBe(0x12);
    expect(machine.read(page(at(0x11)) + 0x100)).toBe(ALL);
  });

  const offsets = [
    0x00, 0x02, 0x03, 0x04, 0x0e, 0x10, 0x40, 0x41, 0x44, 0x45, 0x46, 0x47, 0x49, 0x4a, 0xfc, 0xfd, 0xff,
  ];
  test.each([1, 2, 4, 8])("agrees with CF8 and CFC, and with itself in parts, for accesses of %i bytes", (width) => {
    const machine = new Machine([{ device: express, sbdf: at(0x10) }], [{ segment: 0, bus: 0, ecam: ecam() }]);
    const config = (offset: number, wide: number): bigint =>
      machine.post({
        type: TYPE.pciConfig,
        flags: DIR_READ,
        addr: (BigInt(at(0x10)) << 32n) | BigInt(offset),
        width: wide,
      });
    for (const offset of offsets) {
      const value = 0x8877_6655_4433_2211n >> BigInt(64 - width * 8);
      machine.post({ addr: BigInt(page(at(0x10)) + offset), data: value, width });
      const seen = machine.post({ addr: BigInt(page(at(0x10)) + offset), flags: DIR_READ, width });
      expect(seen).toBe(config(offset, width));
      const bytes = Array.from({ length: width }, (_, i) => config(offset + i, 1) << BigInt(i * 8));
      expect(seen).toBe(bytes.reduce((sum, byte) => sum | byte, 0n));
    }
  });

  test("an access across the end of a function's page goes to both functions", () => {
    const machine = new Machine(
      [
        { device: express, sbdf: at(0x10) },
        { device: express, sbdf: at(0x10, 1) },
      ],
      [{ segment: 0, bus: 0, ecam: ecam() }],
    );
    machine.write(page(at(0x10)) + 0xffc, 0xaabb_ccdd);
    expect(machine.read(page(at(0x10)) + 0xffe)).toBe(0x1234_aabb);
  });

  test("what is behind a bridge has its page where the bus number says", () => {
    const machine = new Machine(
      [
        { device: pciBridge, sbdf: at(0x10), id: "b" },
        { device: plain, sbdf: at(3), bus: "b" },
      ],
      [{ segment: 0, bus: 0, ecam: ecam() }],
    );
    machine.write(page(at(0x10)) + 0x18, 0x0002_0200);
    expect(machine.read(page(sbdf(0, 2, 3, 0)))).toBe(0x0005_1234);
    expect(machine.tree.describe(TYPE.copy, 0, page(sbdf(0, 2, 3, 0)) | 0, 4)).toEqual({
      device: "0000:00:10.0/03.0 plain config",
      register: "VENDOR_ID,DEVICE_ID",
      offset: 0,
    });
  });

  test("each segment has a window of its own", () => {
    const machine = new Machine(
      [
        { device: plain, sbdf: at(0x10) },
        { device: express, sbdf: sbdf(1, 0x20, 1, 0) },
      ],
      [
        { segment: 0, bus: 0, ecam: ecam() },
        { segment: 1, bus: 0x20, ecam: ecam({ base: 0xd000_0000, firstBus: 0x20, buses: 16 }) },
      ],
    );
    expect(machine.read(0xd000_0000 + 8 * 4096)).toBe(0x0005_1234);
    expect(machine.read(0xd000_0000 + 8 * 4096 + 0xffc)).toBe(0);
  });

  test.each<[string, Partial<EcamWindow>, RegExp]>([
    ["off its alignment", { base: BASE + 4096 }, /no multiple of its length/],
    ["with a number of buses that is no power of two", { buses: 3 }, /a power of two up to 256/],
    ["past bus 255", { firstBus: 255, buses: 2 }, /a power of two up to 256/],
  ])("%s is refused", (_what, more, message) => {
    expect(() => new Machine([plain], [{ segment: 0, bus: 0, ecam: ecam(more) }])).toThrow(message);
  });

  test("windows that overlap are refused, and named", () => {
    const hosts = [
      { segment: 0, bus: 0, ecam: ecam() },
      { segment: 1, bus: 0, aperture: { base: BASE + 0x1000, size: 0x1_0000 } },
    ];
    expect(() => new Machine([plain], hosts)).toThrow(
      "the ECAM window of 0:0 (0xe0000000-0xefffffff) overlaps the I/O aperture of 1:0 (0xe0001000-0xe0010fff)",
    );
  });
});

describe("PCIEXBAR", () => {
  const machineWithHost = (): Machine =>
    new Machine([
      { device: q35Host, sbdf: at(0) },
      { device: express, sbdf: at(0x10) },
    ]);
  const bar = (machine: Machine, value: number): void => machine.configWrite(0, 0x60, value);

  test("is off at first, and places the window when the guest switches it on", () => {
    const machine = machineWithHost();
    expect(machine.tree.claimed("mmio")).toEqual([]);
    bar(machine, 0xb000_0001);
    expect(machine.read(0xb000_0000 + at(0x10) * 4096)).toBe(0x0005_1234);
  });

  test("moves the window: the new one is mapped before the old one is unmapped", () => {
    const machine = machineWithHost();
    bar(machine, 0xb000_0001);
    machine.asked.length = 0;
    bar(machine, 0xc000_0001);
    expect(machine.asked.map((line) => line.split("-")[0])).toEqual([
      "map mmio 0xc0000000",
      "map mmio 0xc0080000",
      "unmap mmio 0xb0000000",
      "unmap mmio 0xb0080000",
    ]);
  });

  test("shortens it: buses that are not in it any more are not there", () => {
    const machine = new Machine([
      { device: q35Host, sbdf: at(0) },
      { device: pciBridge, sbdf: at(0x10), id: "b" },
      { device: plain, sbdf: at(1), bus: "b" },
    ]);
    machine.configWrite(1, 0x18, 0x0050_5000);
    bar(machine, 0xb000_0001);
    const where = 0xb000_0000 + sbdf(0, 0x50, 1, 0) * 4096;
    expect(machine.read(where)).toBe(0x0005_1234);
    bar(machine, 0xb000_0005);
    expect(machine.read(where)).toBe(ALL);
  });

  test("over a BAR: the window answers there, and the BAR again when it has gone", () => {
    const machine = machineWithHost();
    machine.configWrite(1, 0x10, 0xb008_0000);
    machine.configWrite(1, 0x04, 2, 2);
    expect(machine.read(0xb008_0000)).toBe(0);
    bar(machine, 0xb000_0001);
    expect(machine.read(0xb008_0000)).toBe(0x0005_1234);
    bar(machine, 0);
    expect(machine.read(0xb008_0000)).toBe(0);
  });

  test("of a window that Xen is told of, it is told once for each place; accesses come as configuration requests", () => {
    const hosts = [{ segment: 0, bus: 0, ecam: ecam({ delivery: "translated" }) }];
    const machine = new Machine(
      [
        { device: q35Host, sbdf: at(0) },
        { device: express, sbdf: at(0x10) },
      ],
      hosts,
    );
    bar(machine, 0xb000_0001);
    machine.configWrite(0, 0x0c, 1, 1);
    bar(machine, 0xc000_0003);
    bar(machine, 0);
    expect(machine.asked.filter((line) => line.includes("window"))).toEqual([
      "window 0 at 0xb0000000 buses 0-255",
      "window 0 at 0xc0000000 buses 0-127",
      "no window 0",
    ]);
    expect(machine.tree.claimed("mmio")).toEqual([]);
    machine.configWrite(1, 0xffc, 7);
    expect(machine.configRead(1, 0xffc)).toBe(7);
  });

  test("CF8 keeps what was written, whatever COMMAND says, and takes no byte", () => {
    const machine = machineWithHost();
    machine.write(0xcf8, 0x8000_0000, 4, TYPE.pio);
    expect(machine.read(0xcf8, 4, TYPE.pio)).toBe(0x8000_0000);
    machine.out(0xcf9, 0x06);
    expect(machine.read(0xcf8, 4, TYPE.pio)).toBe(0x8000_0000);
    expect(machine.in(0xcf9)).toBe(0xff);
    expect(machine.configRead(0, 0x0a, 2)).toBe(0x0600);
  });
});

describe("an I/O aperture", () => {
  const hosts = [
    { segment: 0, bus: 0, ecam: ecam({ claim: "window", buses: 16 }), aperture: { base: 0x3eff_0000, size: 0x1_0000 } },
    {
      segment: 1,
      bus: 0,
      ecam: ecam({ base: 0xd000_0000, claim: "window", buses: 16 }),
      aperture: { base: 0x3efe_0000, size: 0x1_0000 },
    },
  ];
  const two = (): Machine =>
    new Machine(
      [
        { device: plain, sbdf: at(0x10) },
        { device: plain, sbdf: sbdf(1, 0, 0x10, 0) },
      ],
      hosts,
    );
  const place = (machine: Machine, window: number, ports: number): void => {
    machine.write(window + at(0x10) * 4096 + 0x14, ports);
    machine.write(window + at(0x10) * 4096 + 0x04, 1, 2);
  };

  test("each host bridge has ports of its own, and an I/O BAR holds a port number", () => {
    const machine = two();
    place(machine, BASE, 0xc000);
    place(machine, 0xd000_0000, 0xc000);
    machine.write(0x3eff_c000, 1);
    machine.write(0x3efe_c000, 2);
    expect([machine.read(0x3eff_c000), machine.read(0x3efe_c000)]).toEqual([1, 2]);
    expect(machine.read(BASE + at(0x10) * 4096 + 0x14)).toBe(0xc001);
    expect(machine.tree.claimed("pio")).toEqual([]);
  });

  test("where no BAR is, ports read as ones, and a port instruction reaches none of them", () => {
    const machine = two();
    place(machine, BASE, 0xc000);
    expect(machine.read(0x3eff_d000)).toBe(ALL);
    expect(machine.read(0x3eff_c00e)).toBe(0xffff_0000);
    expect(machine.in(0xc000)).toBe(0xff);
    machine.write(0x3eff_ffff, 0xff, 1);
  });
});
