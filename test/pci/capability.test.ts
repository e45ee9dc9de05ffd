// SPDX-License-Identifier: MIT
import { advancedErrors, expressEndpoint } from "../../src/pci/capabilities/express.js";
import { msi, msix } from "../../src/pci/capabilities/interrupts.js";
import { powerManagement } from "../../src/pci/capabilities/power.js";
import {
  alternativeRoutingId,
  extendedVendorSpecific,
  serialNumber,
  vendorSpecific,
} from "../../src/pci/capabilities/vendor.js";
import type { Capability } from "../../src/pci/capability.js";
import { definePciDevice, type PciDevice } from "../../src/pci/define.js";
import { capabilityChain, extendedChain } from "../support/capabilities.js";
import { Machine } from "../support/machine.js";

const having = (capabilities: Capability[], config = {}): PciDevice =>
  definePciDevice({
    name: "having",
    ident: { vendor: 0x1234, device: 0x0003, classCode: 0x00ff00 },
    bars: { 0: { space: "mem32", size: 0x1000 }, 1: { space: "io", size: 0x20 } },
    capabilities,
    config,
  });

const chain = (machine: Machine): string[] =>
  capabilityChain(machine).map(({ at, id }) => `${at.toString(16)}: ${id.toString(16)}`);
const extended = (machine: Machine): string[] =>
  extendedChain(machine).map(({ at, id, version }) => `${at.toString(16)}: ${id.toString(16)} v${version}`);

test("capabilities are chained in the order of the table, each on a multiple of 4", () => {
  const machine = new Machine([
    having([
      powerManagement(),
      msi({ vectors: 2 }),
      vendorSpecific({ regs: { TEXT: { at: 3, bytes: 6, reset: "xenial" } } }),
    ]),
  ]);
  expect(chain(machine)).toEqual(["40: 1", "48: 5", "60: 9"]);
  expect(machine.configRead(0, 0x62, 1)).toBe(12);
  expect(machine.configRead(0, 0)).toBe(0x0003_1234);
  expect(String.fromCharCode(...[0, 1, 2, 3, 4, 5].map((i) => machine.configRead(0, 0x63 + i, 1)))).toBe("xenial");
});

test("those with a place of their own have it, and the others go around it and around the device's registers", () => {
  const machine = new Machine([
    having([powerManagement(), vendorSpecific({ regs: { A: { at: 4 } }, at: 0x44 })], { MINE: { at: 0x4c, rw: 0xff } }),
  ]);
  expect(chain(machine)).toEqual(["50: 1", "44: 9"]);
});

test("without capabilities there is no list", () => {
  const machine = new Machine([having([])]);
  expect(machine.configRead(0, 0x34, 1)).toBe(0);
  expect(machine.configRead(0, 0x06, 2) & 0x10).toBe(0);
});

test("PCI Express brings 4096 bytes of configuration space, and extended capabilities from 0x100 on", () => {
  const machine = new Machine([
    having([
      expressEndpoint(),
      advancedErrors(),
      serialNumber(0x0123_4567_89ab_cdefn),
      alternativeRoutingId(),
      extendedVendorSpecific({ id: 7, revision: 1, regs: { R: { at: 8, rw: 0xff } } }),
    ]),
  ]);
  expect(chain(machine)).toEqual(["40: 10"]);
  expect(extended(machine)).toEqual(["100: 1 v2", "12c: 3 v1", "138: e v1", "140: b v1"]);
  expect([machine.configRead(0, 0x130), machine.configRead(0, 0x134)]).toEqual([0x89ab_cdef, 0x0123_4567]);
  expect(machine.configRead(0, 0xffc)).toBe(0);
  expect(machine.configRead(0, 0xfff, 1)).toBe(0);
  expect(machine.configRead(0, 0x1000)).toBe(0xffff_ffff);
  machine.configWrite(0, 0x148, 0x1ff);
  expect(machine.configRead(0, 0x148)).toBe(0xff);
});

test("a conventional function ends at 0x100: beyond it reads as ones, also across its end", () => {
  const machine = new Machine([having([powerManagement()])]);
  expect(machine.configRead(0, 0x100)).toBe(0xffff_ffff);
  expect(machine.configRead(0, 0xfe)).toBe(0xffff_0000);
});

test("an endpoint on the root bus is integrated, and resets itself when told to", () => {
  const machine = new Machine([having([expressEndpoint()])]);
  expect((machine.configRead(0, 0x42, 2) >>> 4) & 15).toBe(9);
  machine.place();
  machine.configWrite(0, 0x48, 0x8000, 2);
  expect(machine.configRead(0, 0x04, 2)).toBe(0);
  expect(machine.configRead(0, 0x10)).toBe(0);
  expect(machine.asked).toEqual([expect.stringMatching(/^unmap pio/), expect.stringMatching(/^unmap mmio/)]);
});

const big = (at?: number): Capability => ({
  name: "BIG",
  id: 9,
  length: 0xc0,
  regs: {},
  ...(at === undefined ? {} : { at }),
});

test.each<[string, Capability[], object, RegExp]>([
  ["two on one place", [big(0x40), powerManagement({ at: 0x50 })], {}, /PM at 0x50 overlaps/],
  ["one over a register of the device", [powerManagement({ at: 0x48 })], { MINE: { at: 0x4c } }, /PM at 0x48 overlaps/],
  ["more than fit", [big(), powerManagement()], {}, /no room for the 8 bytes of capability PM/],
  ["one in the header", [powerManagement({ at: 0x3c })], {}, /PM at 0x3c is not on a multiple of 4 from 0x40 to 0x100/],
  ["one across the end", [powerManagement({ at: 0xfc })], {}, /PM at 0xfc/],
  ["one off its alignment", [powerManagement({ at: 0x42 })], {}, /PM at 0x42/],
  ["the same twice", [powerManagement(), powerManagement()], {}, /PM is listed twice/],
  [
    "one named as the header is",
    [vendorSpecific({ name: "VENDOR", regs: {} })],
    {},
    /not be told from register VENDOR_ID/,
  ],
  ["an extended one without PCI Express", [serialNumber(1n)], {}, /SERIAL is extended/],
  [
    "a first extended one that is not at 0x100",
    [expressEndpoint(), { ...serialNumber(1n), at: 0x200 }],
    {},
    /first extended capability must be at 0x100/,
  ],
  [
    "a register outside its capability",
    [{ name: "X", id: 9, length: 8, regs: { R: { at: 6 } } }],
    {},
    /register R of capability X lies outside/,
  ],
  [
    "MSI-X in a BAR of ports",
    [msix({ vectors: 1, table: { bar: 1, at: 0 }, pba: { bar: 0, at: 0 } })],
    {},
    /BAR 1, which is no memory BAR/,
  ],
  [
    "MSI-X in a BAR that is not there",
    [msix({ vectors: 1, table: { bar: 0, at: 0 }, pba: { bar: 4, at: 0 } })],
    {},
    /BAR 4/,
  ],
  [
    "an MSI-X table over its pending bits",
    [msix({ vectors: 8, table: { bar: 0, at: 0 }, pba: { bar: 0, at: 0x40 } })],
    {},
    /MSIX\w+ and MSIX\w+ overlap/,
  ],
  [
    "an MSI-X table past the end of its BAR",
    [msix({ vectors: 8, table: { bar: 0, at: 0xfc0 }, pba: { bar: 0, at: 0 } })],
    {},
    /outside the 4096-byte block/,
  ],
])("%s is refused when the table is built", (_what, capabilities, config, message) => {
  expect(() => new Machine([having(capabilities, config)])).toThrow(message);
});

test.each([0, 3, 33, 64])("MSI of %i vectors is refused", (vectors) => {
  expect(() => msi({ vectors })).toThrow(/1, 2, 4, 8, 16 or 32 vectors/);
});

test.each([0, 2049, 1.5])("MSI-X of %d vectors is refused", (vectors) => {
  const at = { bar: 0, at: 0 };
  expect(() => msix({ vectors, table: at, pba: at })).toThrow(/1 to 2048 vectors/);
});
