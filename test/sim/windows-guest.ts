// SPDX-License-Identifier: MIT
/** Guest programs for windows.test.ts: configuration space and ports as a guest without QEMU reaches them. */

import { equal } from "node:assert/strict";
import type { GuestVcpu } from "../../src/sim/guest.js";

const PCIEXBAR = 0x60;
const BUS_SIZE = 1 << 20;
const page = (base: number, bus: number, device: number): number => base + bus * BUS_SIZE + device * 0x8000;

/** CF8 is kept, bridges are numbered, and ECAM says what CF8 and CFC say, wherever the guest puts it. */
function pc(cpu: GuestVcpu): void {
  cpu.out32(0xcf8, 0x8000_0000);
  equal(cpu.in32(0xcf8), 0x8000_0000, "CF8 as a probe reads it back");
  equal(cpu.configRead("00:00.0", 0x0a, 2), 0x0600, "a host bridge");

  cpu.configWrite("00:10.0", 0x18, 4, 0x0001_0100);
  equal(cpu.configRead("01:03.0", 0, 4), 0xc047_1234, "the counter behind the bridge");
  cpu.configWrite("00:10.0", 0x18, 4, 0x0005_0500);
  equal(cpu.configRead("01:03.0", 0, 4), 0xffff_ffff, "nobody where it was");

  for (const base of [0xe000_0000, 0xc000_0000]) {
    cpu.configWrite("00:00.0", PCIEXBAR, 4, base | 1);
    compare(cpu, base);
  }
  equal(cpu.read(page(0xe000_0000, 0, 0x11), 4), 0xffff_ffff, "nobody where the window was");
}

function compare(cpu: GuestVcpu, base: number): void {
  for (const [bdf, bus, device] of [
    ["00:00.0", 0, 0],
    ["00:10.0", 0, 0x10],
    ["00:11.0", 0, 0x11],
    ["05:03.0", 5, 3],
    ["00:12.0", 0, 0x12],
  ] as const) {
    const at = page(base, bus, device);
    for (const width of [1, 2, 4] as const) {
      for (let offset = 0; offset < 0x100; offset += width) {
        equal(cpu.read(at + offset, width), cpu.configRead(bdf, offset, width), `${bdf} at ${offset}, ${width} bytes`);
      }
    }
  }
  // The witness is of PCI Express: its extended space begins with a capability, and ends at 0xfff.
  const express = page(base, 0, 0x11);
  equal(cpu.read(express + 0x100, 4) & 0xffff, 3, "the serial number's capability");
  equal(cpu.read(express + 0xfff, 1), 0, "the last byte");
  const low = BigInt(cpu.read(express + 0x100, 4));
  const high = BigInt(cpu.read(express + 0x104, 4));
  equal(cpu.read(express + 0x100, 8), (high << 32n) | low, "eight bytes are two of four");
  cpu.write(express + 0x3c, 1, 0x5a);
  equal(cpu.configRead("00:11.0", 0x3c, 1), 0x5a, "a byte written there is read here");
}

/** Ports of a processor that has none: through the aperture, at the numbers that the BAR holds. */
function arm(cpu: GuestVcpu): void {
  equal(cpu.configRead("00:10.0", 0, 4), 0xc047_1234, "the counter");
  equal(cpu.configRead("00:11.0", 0, 4), 0xffff_ffff, "an empty slot of the window");
  cpu.configWrite("00:10.0", 0x14, 4, 0x2000);
  cpu.configWrite("00:10.0", 0x04, 2, 1);
  const aperture = 0x3eff_0000;
  cpu.write(aperture + 0x200c, 4, 0xcafe);
  equal(cpu.read(aperture + 0x200c, 4), 0xcafe, "SCRATCH by port 0x200c");
  equal(cpu.read(aperture + 0x2000, 4), 0, "the first number");
  equal(cpu.read(aperture + 0x2000, 4), 1, "the next");
  equal(cpu.read(aperture + 0x3000, 4), 0xffff_ffff, "a port that nobody has");
}

const PROGRAMS: Readonly<Record<string, (cpu: GuestVcpu) => void>> = { pc, arm };

export default (cpu: GuestVcpu): void => PROGRAMS[cpu.arguments[0] ?? ""]?.(cpu);
