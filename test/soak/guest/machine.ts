// SPDX-License-Identifier: MIT
/** A vCPU of the soak: its accesses are timed, and what goes wrong ends it. */

import type { Bdf, GuestVcpu } from "../../../src/sim/guest.js";
import { COMMAND, CONFIG } from "../../../src/spec/pci.js";
import { type Bar, RAM } from "../places.js";
import { Random } from "../random.js";

/** Longer than any access takes that no process's end delays. */
const PAUSE_MS = 20;
const TIMED: ReadonlySet<PropertyKey> = new Set([
  ...["in", "in8", "in16", "in32", "out", "out8", "out16", "out32", "read", "write", "configRead", "configWrite"],
  ...["repIns", "repOuts", "repMovs", "vgaWrite"],
]);

export interface Machine {
  readonly vcpu: GuestVcpu;
  readonly random: Random;
  /** Of accesses that took long, in ms. */
  readonly pauses: number[];
  /** Byte address of memory that only this vCPU uses. */
  readonly buffer: number;
}

/** One thing that a vCPU keeps doing. */
export interface Witness {
  /** Do a little of it. Throws when something is not as it must be. */
  round(): void;
  /** Look at everything once more, when all vCPUs have done their last round. Returns what was verified, by name. */
  finish(): Readonly<Record<string, number>>;
}

export function machine(vcpu: GuestVcpu, seed: number): Machine {
  const pauses: number[] = [];
  const words = new Int32Array(vcpu.ram.buffer);
  const answers = (RAM.answers >>> 2) + vcpu.id;
  const timed = new Proxy(vcpu, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      if (!TIMED.has(name)) return member.bind(target) as unknown;
      return (...given: unknown[]): unknown => {
        const began = performance.now();
        const result: unknown = member.apply(target, given);
        const took = performance.now() - began;
        if (took > PAUSE_MS) pauses.push(took);
        Atomics.add(words, answers, 1);
        return result;
      };
    },
  });
  const buffer = RAM.buffers + vcpu.id * RAM.bufferBytes;
  return { vcpu: timed, random: new Random(seed * 31 + vcpu.id), pauses, buffer };
}

export function must(holds: boolean, otherwise: string | (() => string)): void {
  if (!holds) throw new Error(typeof otherwise === "string" ? otherwise : otherwise());
}

export function equal(actual: number, expected: number, what: string): void {
  must(actual === expected, () => `${what} is 0x${actual.toString(16)} where 0x${expected.toString(16)} was due`);
}

/** Put a function's BARs where they belong, and let it decode them and be a bus master. */
export function switchOn(vcpu: GuestVcpu, bdf: Bdf, bars: readonly Bar[]): void {
  bars.forEach(({ at }, index) => {
    vcpu.configWrite(bdf, CONFIG.bar0 + index * 4, 4, at);
  });
  vcpu.configWrite(bdf, CONFIG.command, 2, COMMAND.io | COMMAND.memory | COMMAND.busMaster);
}
