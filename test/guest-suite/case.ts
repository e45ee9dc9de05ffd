// SPDX-License-Identifier: MIT
/** Programs that every guest must get through, on a simulated host and on a real one, and what they use to say so. */

import type { Access, Bdf, GuestCpu } from "../../src/sim/guest.js";
import { type FoundBar, type FoundFunction, place, probe } from "../../src/sim/guests/pci.js";

/** The tree that is served: every device of the list, two of them functions of one slot. */
export const TREE = {
  edu: "00:10.0",
  "pci-serial": "00:11.0",
  "pci-testdev": "00:12.0",
  pvpanic: "00:12.1",
  counter: "00:13.0",
} as const;
export type Served = keyof typeof TREE;

export const VCPUS = 2;

export interface GuestCase {
  /** A sentence: what happens, and when. */
  readonly name: string;
  /** Runs on every vCPU. It leaves devices so that the next one can use them. */
  readonly program: (cpu: GuestCpu) => void;
}

/** A case for the first vCPU alone. */
export function onOne(name: string, program: (cpu: GuestCpu) => void): GuestCase {
  return {
    name,
    program: (cpu) => {
      if (cpu.id === 0) program(cpu);
    },
  };
}

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

/** A served function, switched on, its BARs where firmware or we placed them. */
export function use(cpu: GuestCpu, name: Served): FoundFunction {
  const [device = 0, fn = 0] = (TREE[name].split(":")[1] as string).split(".").map((word) => Number.parseInt(word, 16));
  const found = probe(cpu, device, fn);
  if (found === null) throw new Error(`there is no ${name} at ${TREE[name]}`);
  place(cpu, [found], { memory: 0xf000_0000 + device * 0x10_0000 + fn * 0x8_0000, ports: 0xc000 + device * 0x40 });
  return found;
}

export function bar(fn: FoundFunction, index: number): FoundBar {
  const found = fn.bars.find((candidate) => candidate.index === index);
  if (found === undefined) throw new Error(`${fn.bdf} has no BAR ${index}`);
  return found;
}

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
