// SPDX-License-Identifier: MIT
/** Programs that every guest must get through, on a simulated host and on a real one, and what they use to say so. */

import type { Access, Bdf, GuestCpu } from "../../src/sim/guest.js";
import { place, probe, readHeader } from "../../src/sim/guests/pci.js";
import { BAR, COMMAND, CONFIG } from "../../src/spec/pci.js";

/** The tree that is served: every device of the list, two of them functions of one slot. */
export const TREE = {
  edu: "00:10.0",
  "pci-serial": "00:11.0",
  "pci-testdev": "00:12.0",
  pvpanic: "00:12.1",
  counter: "00:13.0",
  "msix-probe": "00:14.0",
} as const;
export type Served = keyof typeof TREE;

/** Device and function. */
export function placeOf(name: Served): [device: number, fn: number] {
  const [device = 0, fn = 0] = TREE[name]
    .slice(3)
    .split(".")
    .map((word) => Number.parseInt(word, 16));
  return [device, fn];
}

export const VCPUS = 2;

export interface GuestCase {
  /** A sentence: what happens, and when. */
  readonly name: string;
  /** How many vCPUs run it: one, or all. */
  readonly vcpus: 1 | typeof VCPUS;
  /** It leaves devices so that the next one can use them. */
  readonly program: (cpu: GuestCpu) => void;
}

/** A case for the first vCPU alone. */
export const onOne = (name: string, program: (cpu: GuestCpu) => void): GuestCase => ({ name, vcpus: 1, program });

export function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

export function equal(actual: number | bigint, expected: number | bigint, what: string): void {
  check(actual === expected, `${what} is 0x${actual.toString(16)} where 0x${expected.toString(16)} was due`);
}

/** Each element by itself: a difference is told with its place. `what(i)` names element i. */
export function equalEach(
  actual: ArrayLike<number>,
  expected: (i: number) => number,
  what: (i: number) => string,
): void {
  for (let i = 0; i < actual.length; i += 1) equal(actual[i] as number, expected(i), what(i));
}

/** A function in use. */
export interface Used {
  readonly bdf: string;
  readonly gsi: number;
  /** Where each BAR is decoded. */
  readonly bars: readonly number[];
}

/** How many BARs each has; all are of 32 bits, the first ones. */
const BARS: Readonly<Record<Served, number>> = {
  edu: 1,
  "pci-serial": 1,
  "pci-testdev": 2,
  pvpanic: 1,
  counter: 2,
  "msix-probe": 3,
};

/** A served function, switched on, its BARs where firmware or we placed them. */
export function use(cpu: GuestCpu, name: Served): Used {
  const bdf = TREE[name];
  const [device, fn] = placeOf(name);
  const header = readHeader(cpu, bdf);
  const registers = Array.from({ length: BARS[name] }, (_, i) => header.getUint32(CONFIG.bar0 + i * 4, true));
  const bars = registers.map((register) => register & ~BAR_KIND);
  const command = header.getUint16(CONFIG.command, true);
  const pin = header.getUint8(CONFIG.interruptPin);
  const gsi = pin === 0 ? 0 : cpu.gsiOf(device, pin - 1);
  const on = registers.reduce((bits, one) => bits | ((one & BAR.io) === 0 ? COMMAND.memory : COMMAND.io), 0);
  const wanted = on | COMMAND.busMaster;
  if (bars.every((address) => address !== 0) && (command & wanted) === wanted)
    return { bdf, gsi, bars: bars.map((address) => address >>> 0) };
  const found = probe(cpu, device, fn);
  if (found === null) throw new Error(`there is no ${name} at ${bdf}`);
  place(cpu, [found], { memory: 0xf000_0000 + device * 0x10_0000 + fn * 0x8_0000, ports: 0xc000 + device * 0x40 });
  return { bdf, gsi, bars: found.bars.map(({ address }) => address) };
}

/** Of ports two bits, of memory four, which such an address has as zeroes anyway. */
const BAR_KIND = 0x3;

/** Registers from `from` on, in steps of the width. */
export function configDump(cpu: GuestCpu, bdf: Bdf, width: 1 | 2 | 4, from = 0, end = 256): number[] {
  const accesses: Access[] = [];
  for (let at = from; at < end; at += width) accesses.push({ config: bdf, at, width });
  return cpu.batch(accesses);
}

/** Values of that width as bytes, little-endian. */
export function bytesOf(values: readonly number[], width: 1 | 2 | 4): number[] {
  return values.flatMap((value) => Array.from({ length: width }, (_, i) => (value >>> (8 * i)) & 0xff));
}

/** Arguments of `ioreqd run` that serve the tree. */
export function deviceArguments(): string[] {
  return Object.entries(TREE).flatMap(([name, bdf]) => ["--device", `${name},addr=${bdf}`]);
}
