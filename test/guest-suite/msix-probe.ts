// SPDX-License-Identifier: MIT
/** What a driver of msix-probe knows of it. */

import type { Bdf, GuestCpu } from "../../src/sim/guest.js";
import { COMMAND, CONFIG, MSIX } from "../../src/spec/pci.js";
import { check, type Used, use } from "./case.js";

/** Registers in BAR 0. */
export const PROBE = {
  vectors: 0x00,
  allowed: 0x04,
  fire: 0x08,
  line: 0x0c,
  asked: 0x10,
  sent: 0x14,
  waited: 0x18,
  late: 0x1c,
  merged: 0x20,
  lost: 0x24,
  select: 0x40,
  vectorSent: 0x48,
} as const;

/** Offsets within their capabilities. */
export const MSI_AT = {
  control: 0x02,
  address: 0x04,
  addressHigh: 0x08,
  data: 0x0c,
  mask: 0x10,
  pending: 0x14,
} as const;
export const MSIX_AT = { control: 0x02, table: 0x04, pba: 0x08 } as const;
export const EXPRESS_AT = { deviceControl: 0x08 } as const;

/** Of a table entry. */
export const ENTRY = { address: 0, addressHigh: 4, data: 8, control: 12 } as const;

export interface Probe {
  readonly fn: Used;
  readonly vectors: number;
  /** Guest-physical. */
  readonly pba: number;
  entry(vector: number): number;
  read(at: number): number;
  write(at: number, value: number): void;
  fire(...vectors: number[]): void;
  /** Offset of a capability in configuration space. */
  capability(id: number): number;
  /** MSI-X Message Control's bits that can be written. */
  msix(bits: number): void;
}

/** The function, switched on. Its table may be anywhere: it is looked up as a driver does. */
export function msixProbe(cpu: GuestCpu): Probe {
  const fn = use(cpu, "msix-probe");
  const { bdf, bars } = fn;
  const capabilities = new Map(walk(cpu, bdf));
  const capability = (id: number): number => {
    const at = capabilities.get(id);
    check(at !== undefined, `msix-probe has no capability 0x${id.toString(16)}`);
    return at as number;
  };
  const msix = capability(0x11);
  const place = (at: number): number => {
    const value = cpu.configRead(bdf, msix + at, 4);
    return (bars[value & MSIX.barMask] as number) + (value & ~MSIX.barMask);
  };
  const [table, pba] = [place(MSIX_AT.table), place(MSIX_AT.pba)];
  const base = bars[0] as number;
  return {
    fn,
    vectors: cpu.read(base + PROBE.vectors, 4),
    pba,
    entry: (vector) => table + vector * MSIX.entrySize,
    read: (at) => cpu.read(base + at, 4),
    write: (at, value) => cpu.write(base + at, 4, value),
    fire: (...vectors) => {
      cpu.batch(vectors.map((value) => ({ gpa: base + PROBE.fire, width: 4, value })));
    },
    capability,
    msix: (bits) => cpu.configWrite(bdf, msix + MSIX_AT.control, 2, bits),
  };
}

/** Ids and offsets of the chain, as far as a chain can be. */
export function walk(cpu: GuestCpu, bdf: Bdf): Array<[id: number, at: number]> {
  const found: Array<[number, number]> = [];
  for (let at = cpu.configRead(bdf, CONFIG.capabilities, 1); at !== 0; at = cpu.configRead(bdf, at + 1, 1)) {
    check(at % 4 === 0 && at >= CONFIG.headerEnd, `the chain of ${bdf} leads to 0x${at.toString(16)}`);
    check(found.length < 48, `the chain of ${bdf} has no end`);
    found.push([cpu.configRead(bdf, at, 1), at]);
  }
  return found;
}

/** A function level reset, and the header as it was: nothing else knows that it happened. */
export function resetFunction(cpu: GuestCpu, { fn, capability }: Probe): void {
  const { bdf } = fn;
  const kept = [CONFIG.bar0, CONFIG.bar0 + 4, CONFIG.bar0 + 8, CONFIG.interruptLine, CONFIG.command] as const;
  const values = kept.map((at) => cpu.configRead(bdf, at, 4));
  cpu.configWrite(bdf, capability(0x10) + EXPRESS_AT.deviceControl, 2, 0x8000);
  kept.forEach((at, i) => {
    // The upper half of COMMAND is STATUS, where ones clear.
    if (at === CONFIG.command) cpu.configWrite(bdf, at, 2, (values[i] as number) & 0xffff);
    else cpu.configWrite(bdf, at, 4, values[i] as number);
  });
  check((cpu.configRead(bdf, CONFIG.command, 2) & COMMAND.memory) !== 0, "memory decoding after the reset");
}
