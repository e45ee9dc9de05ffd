// SPDX-License-Identifier: MIT
/** Configuration space, through ports CF8 and CFC. */

import type { GuestCpu } from "../../src/sim/guest.js";
import { probe } from "../../src/sim/guests/pci.js";
import { BAR, COMMAND, CONFIG } from "../../src/spec/pci.js";
import {
  bytesOf,
  check,
  configDump,
  equal,
  equalEach,
  type GuestCase,
  onOne,
  placeOf,
  type Served,
  TREE,
  use,
} from "./case.js";

const ALL_ONES = 0xffff_ffff;
const EDU_BYTES = 1 << 20;
const IDS: Readonly<Record<Served, number>> = {
  edu: 0x11e8_1234,
  "pci-serial": 0x0002_1b36,
  "pci-testdev": 0x0005_1b36,
  pvpanic: 0x0011_1b36,
  counter: 0xc047_1234,
  "msix-probe": 0x3517_1234,
};

/** The same 256 bytes, whatever the width they are read in. */
function sameInEveryWidth(cpu: GuestCpu, name: Served): void {
  const bdf = TREE[name];
  const bytes = configDump(cpu, bdf, 1);
  for (const width of [2, 4] as const) {
    equalEach(
      bytesOf(configDump(cpu, bdf, width), width),
      (at) => bytes[at] as number,
      (at) => `${name}: byte 0x${at.toString(16)} of ${width}-byte reads`,
    );
  }
  equal(cpu.configRead(bdf, CONFIG.vendor, 4), IDS[name], `${name}: vendor and device`);
}

/** Two and four bytes from any offset of a register, as long as it stays in CFC to CFF. */
function withinTheWindow(cpu: GuestCpu, name: Served): void {
  const bdf = TREE[name];
  const bytes = configDump(cpu, bdf, 1, 0, 0x40);
  const at = (offset: number, width: number): number =>
    Array.from({ length: width }, (_, i) => (bytes[offset + i] as number) * 2 ** (8 * i)).reduce((a, b) => a + b, 0);
  for (let offset = 0; offset < 0x40; offset += 4)
    equal(
      cpu.configRead(bdf, offset + 1, 2),
      at(offset + 1, 2),
      `${name}: two bytes at 0x${(offset + 1).toString(16)}`,
    );
}

function writesByByte(cpu: GuestCpu): void {
  const { bdf } = use(cpu, "edu");
  const before = cpu.configRead(bdf, CONFIG.interruptLine, 1);
  for (const value of [0x00, 0xa5, 0x5a, 0xff]) {
    cpu.configWrite(bdf, CONFIG.interruptLine, 1, value);
    equal(cpu.configRead(bdf, CONFIG.interruptLine, 4) & 0xff, value, "the interrupt line register");
    equal(cpu.configRead(bdf, CONFIG.interruptPin, 1), 1, "the interrupt pin beside it");
  }
  cpu.configWrite(bdf, CONFIG.interruptLine, 1, before);
}

function readOnly(cpu: GuestCpu): void {
  for (const [name, bdf] of Object.entries(TREE)) {
    const before = configDump(cpu, bdf, 4, 0, 0x0c);
    cpu.configWrite(bdf, CONFIG.vendor, 4, 0);
    cpu.configWrite(bdf, CONFIG.revision, 4, ~(before[2] as number) >>> 0);
    equal(cpu.configRead(bdf, CONFIG.vendor, 4), before[0] as number, `${name}: ids after a write`);
    equal(cpu.configRead(bdf, CONFIG.revision, 4), before[2] as number, `${name}: class after a write`);
  }
}

function barsAreSized(cpu: GuestCpu): void {
  const sizes: Readonly<Record<Served, readonly number[]>> = {
    edu: [0x10_0000],
    "pci-serial": [8],
    "pci-testdev": [0x1000, 0x100],
    pvpanic: [16],
    counter: [0x1000, 16],
    "msix-probe": [0x1000, 0x1_0000, 0x1000],
  };
  for (const name of Object.keys(TREE) as Served[]) {
    use(cpu, name);
    const [device = 0, fn = 0] = placeOf(name);
    const found = probe(cpu, device, fn)?.bars ?? [];
    cpu.log(`${name}: ${found.map(({ space, size, address }) => `${space} ${size} at 0x${address.toString(16)}`)}`);
    const expected = sizes[name];
    equalEach(
      expected,
      (i) => found[i]?.size ?? 0,
      (i) => `${name}: size of BAR ${i}`,
    );
    for (const { address, size } of found) {
      check(address !== 0, `${name}: a BAR has no address`);
      equal(address % size, 0, `${name}: what is left of its alignment`);
    }
  }
}

function barMoves(cpu: GuestCpu): void {
  const fn = use(cpu, "edu");
  const home = fn.bars[0] as number;
  const at = CONFIG.bar0;
  equal(cpu.read(home, 4), 0x0100_00ed, "edu at home");
  const away = home + 4 * EDU_BYTES;
  cpu.configWrite(fn.bdf, at, 4, away);
  equal(cpu.read(away, 4), 0x0100_00ed, "edu at its new place");
  equal(cpu.read(home, 4), ALL_ONES, "what edu left behind");
  cpu.configWrite(fn.bdf, at, 4, home);
  equal(cpu.read(home, 4), 0x0100_00ed, "edu at home again");
  equal(cpu.read(away, 4), ALL_ONES, "the place it came back from");
}

function disabled(cpu: GuestCpu): void {
  const fn = use(cpu, "edu");
  const address = fn.bars[0] as number;
  const command = cpu.configRead(fn.bdf, CONFIG.command, 2);
  cpu.configWrite(fn.bdf, CONFIG.command, 2, command & ~COMMAND.memory);
  equal(cpu.read(address, 4), ALL_ONES, "a load from a BAR that was switched off");
  equal(cpu.read(address, 1), 0xff, "a byte of it");
  equal(cpu.read(address, 8), 0xffff_ffff_ffff_ffffn, "eight bytes of it");
  cpu.write(address + 4, 4, 0x1234);
  cpu.configWrite(fn.bdf, CONFIG.command, 2, command);
  equal(cpu.read(address, 4), 0x0100_00ed, "edu after it was switched on again");

  const serial = use(cpu, "pci-serial");
  const port = serial.bars[0] as number;
  const before = cpu.configRead(serial.bdf, CONFIG.command, 2);
  cpu.configWrite(serial.bdf, CONFIG.command, 2, before & ~COMMAND.io);
  equal(cpu.in(port + 5, 1), 0xff, "a port that was switched off");
  equal(cpu.in(port, 4), ALL_ONES, "four ports that were switched off");
  cpu.configWrite(serial.bdf, CONFIG.command, 2, before);
  equal(cpu.in(port + 5, 1) & 0x60, 0x60, "the line status after it was switched on again");
}

function unclaimed(cpu: GuestCpu): void {
  for (const bdf of ["00:1f.0", "00:10.7", "00:13.1", "01:00.0"]) {
    for (const width of [1, 2, 4] as const)
      equal(cpu.configRead(bdf, 0, width), 2 ** (8 * width) - 1, `${width} bytes of nobody at ${bdf}`);
    cpu.configWrite(bdf, CONFIG.command, 2, 7);
  }
}

/** The address register of the host bridge: without its top bit CFC is an ordinary port, and nobody's. */
function disabledAddress(cpu: GuestCpu): void {
  cpu.out32(0xcf8, 0x0000_8000);
  equal(cpu.in32(0xcfc), ALL_ONES, "CFC while CF8 has no enable bit");
}

function sizingProbe(cpu: GuestCpu): void {
  const { bdf, bars } = use(cpu, "edu");
  const home = bars[0] as number;
  cpu.configWrite(bdf, CONFIG.bar0, 4, ALL_ONES);
  equal(cpu.configRead(bdf, CONFIG.bar0, 4), 0xfff0_0000, "BAR 0 of edu after all ones, decoding on");
  cpu.configWrite(bdf, CONFIG.bar0, 4, home);
  equal(cpu.read(home, 4), 0x0100_00ed, "edu after it was sized while decoding");
  equal(cpu.configRead(bdf, CONFIG.bar0, 4) & (BAR.io | BAR.mem64), 0, "its kind");
}

export const configSpace: readonly GuestCase[] = [
  ...(Object.keys(TREE) as Served[]).map((name) =>
    onOne(`the 256 bytes of ${name} are the same in every width`, (cpu) => sameInEveryWidth(cpu, name)),
  ),
  onOne("two bytes in the middle of a register of configuration space", (cpu) => {
    for (const name of ["edu", "pci-serial"] as const) withinTheWindow(cpu, name);
  }),
  onOne("a byte is written without its neighbours", writesByByte),
  onOne("ids and class stay what they are", readOnly),
  onOne("BARs have their sizes, and an aligned place", barsAreSized),
  onOne("a BAR is sized while it is decoded", sizingProbe),
  onOne("a BAR that moves answers at its new place, and no more at the old one", barMoves),
  onOne("a BAR that is switched off reads as all ones at once", disabled),
  onOne("functions that nobody claims read as all ones", unclaimed),
  onOne("CFC without an address is nobody's port", disabledAddress),
];
