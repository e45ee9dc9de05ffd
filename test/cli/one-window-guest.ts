// SPDX-License-Identifier: MIT
/** Guest programs for one-window.test.ts: configuration space of which each function may be another process's. */

import { equal } from "node:assert/strict";
import type { GuestVcpu } from "../../src/sim/guest.js";

const NOBODY = 0xffff_ffff;
/** Device, function, vendor and device id. Those of the second process come and go. */
const FIRST = [
  [0x12, 0, 0x11e8_1234],
  [0x13, 0, 0xc047_1234],
] as const;
const SECOND = [
  [0x13, 1, 0x3517_1234],
  [0x14, 0, 0x0005_1b36],
] as const;
const EMPTY = [
  [0x12, 1],
  [0x13, 2],
  [0x14, 1],
  [0x15, 0],
] as const;

const address = (base: number, device: number, fn: number): number => base + device * 0x8000 + fn * 0x1000;
const bdf = (device: number, fn: number): string => `00:${device.toString(16)}.${fn}`;

/** What is at the beginning of a function's configuration space, the same by ECAM and by CF8 and CFC. */
function idOf(cpu: GuestVcpu, device: number, fn: number): number {
  const id = cpu.read(address(0xe000_0000, device, fn), 4);
  equal(cpu.configRead(bdf(device, fn), 0, 4), id, `${bdf(device, fn)} by CF8 and by ECAM`);
  return id;
}

function expectAll(cpu: GuestVcpu, functions: typeof FIRST | typeof SECOND): void {
  for (const [device, fn, id] of functions) equal(idOf(cpu, device, fn), id, bdf(device, fn));
}

/** Each function is reached at its own place, and what is written to one is nobody else's. */
function reach(cpu: GuestVcpu): void {
  expectAll(cpu, FIRST);
  expectAll(cpu, SECOND);
  for (const [device, fn] of EMPTY) equal(idOf(cpu, device, fn), NOBODY, `nobody at ${bdf(device, fn)}`);

  const all = [...FIRST, ...SECOND];
  const at = ([device, fn]: readonly [number, number, number]): number => address(0xe000_0000, device, fn);
  for (const [i, one] of all.entries()) {
    if (i % 2 === 0) cpu.write(at(one) + 0x3c, 1, 0x40 + i);
    else cpu.configWrite(bdf(one[0], one[1]), 0x3c, 1, 0x40 + i);
  }
  for (const [i, one] of all.entries()) {
    equal(cpu.read(at(one) + 0x3c, 1), 0x40 + i, "by ECAM what was written");
    equal(cpu.configRead(bdf(one[0], one[1]), 0x3c, 1), 0x40 + i, "and by CF8");
  }

  equal(cpu.configRead("00:13.0", 0x0e, 1), 0x80, "a device with several functions");
  equal(cpu.configRead("00:14.0", 0x0e, 1), 0, "a device with one");
  const border = address(0xe000_0000, 0x13, 1);
  equal(cpu.read(border + 0x100, 4) & 0xffff, 3, "extended space of the second's");
  equal(cpu.read(border - 0x1000 + 0x100, 4), NOBODY, "the first's has none");
  equal(cpu.read(border - 2, 4), 0x1234_ffff, "half from the one process, half from the other");
}

/** One vCPU works with each process, while the second ends and another comes in its place. */
function shared(cpu: GuestVcpu): void {
  const phase = new Int32Array(cpu.shared, 0x1000, 1);
  if (cpu.id === 0) {
    reach(cpu);
    cpu.step("reached");
  }
  cpu.barrier();
  if (cpu.id === 0) {
    while (Atomics.load(phase, 0) < 2) expectAll(cpu, FIRST);
    return;
  }
  const [device, fn, id] = SECOND[0];
  const read = (): number => cpu.read(address(0xe000_0000, device, fn), 4);
  for (let now = read(); now !== NOBODY; now = read()) equal(now, id, "the second's, while it is there");
  for (const [where, which] of [...SECOND, ...EMPTY])
    equal(idOf(cpu, where, which), NOBODY, "all-ones of who has ended");
  expectAll(cpu, FIRST);
  Atomics.store(phase, 0, 1);
  cpu.step("alone");
  for (let now = read(); now !== id; now = read()) equal(now, NOBODY, "all-ones until somebody is there");
  expectAll(cpu, SECOND);
  equal(cpu.configRead(bdf(device, fn), 0x3c, 1), 0, "as after power-on");
  equal(cpu.configRead("00:12.0", 0x3c, 1), 0x40, "the first's as it was");
  Atomics.store(phase, 0, 2);
}

/** Where an access that nobody claims is a fault: one process has the whole window, the other its functions in it. */
function arm(cpu: GuestVcpu): void {
  if (cpu.id !== 0) return;
  const read = (device: number, fn: number): number => cpu.read(address(0x1000_0000, device, fn), 4);
  equal(read(0x12, 0), 0x11e8_1234, "of the first");
  equal(read(0x14, 0), 0x0005_1b36, "of the second");
  equal(read(0x15, 0), NOBODY, "nobody's");
  cpu.step("reached");
  while (read(0x14, 0) !== NOBODY) equal(read(0x12, 0), 0x11e8_1234, "of the first");
  equal(read(0x12, 0), 0x11e8_1234, "of the first, alone");
}

const PROGRAMS: Readonly<Record<string, (cpu: GuestVcpu) => void>> = { shared, arm };

export default (cpu: GuestVcpu): void => PROGRAMS[cpu.arguments[0] ?? ""]?.(cpu);
