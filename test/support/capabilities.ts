// SPDX-License-Identifier: MIT
/** The chains of capabilities, as a guest walks them. */

import type { Machine } from "./machine.js";

/** Where a chain can lead, and how many capabilities fit there. */
const CONVENTIONAL = { first: 0x40, end: 0x100, most: 48 } as const;
const EXTENDED = { first: 0x100, end: 0x1000, most: 960 } as const;

export interface Found {
  readonly at: number;
  readonly id: number;
  /** 0 for a conventional one. */
  readonly version: number;
}

function walk(
  { first, end, most }: typeof CONVENTIONAL | typeof EXTENDED,
  start: number,
  read: (at: number) => Omit<Found, "at"> & { next: number },
): Found[] {
  const found: Found[] = [];
  for (let at = start; at !== 0; ) {
    if (at % 4 !== 0 || at < first || at >= end || found.length === most) {
      throw new Error(`the chain ${found.map((one) => one.at.toString(16))} leads to ${at.toString(16)}`);
    }
    const { next, ...one } = read(at);
    found.push({ at, ...one });
    at = next;
  }
  return found;
}

/** Throws where the chain leads out of its area, off its alignment or in circles. */
export function capabilityChain(machine: Machine, fn = 0): Found[] {
  return walk(CONVENTIONAL, machine.configRead(fn, 0x34, 1), (at) => {
    const header = machine.configRead(fn, at, 2);
    return { id: header & 0xff, version: 0, next: header >>> 8 };
  });
}

/** The same of extended ones; none where there is no such space. */
export function extendedChain(machine: Machine, fn = 0): Found[] {
  const first = machine.configRead(fn, EXTENDED.first);
  if (first === 0xffff_ffff || first === 0) return [];
  return walk(EXTENDED, EXTENDED.first, (at) => {
    const header = machine.configRead(fn, at);
    return { id: header & 0xffff, version: (header >>> 16) & 15, next: header >>> 20 };
  });
}
