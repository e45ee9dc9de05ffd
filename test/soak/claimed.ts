// SPDX-License-Identifier: MIT
/** What Xen must have for the server at the end, by where the guest has put its BARs; and what it has. */

import type { SimRange } from "../../src/sim/addon.js";
import { AT, BARS, type Bar, moverBars } from "./places.js";

/** A function's SBDF on bus 0, from "00:10.0". */
const sbdfOf = (bdf: string): number => (Number.parseInt(bdf.slice(3, 5), 16) << 3) | Number(bdf.slice(6));

/** `movers`: the places of each vCPU's mover. `hot`: BARs that the function which comes and goes decodes; null when it is not there. */
export function wanted(movers: ReadonlyArray<readonly [number, number]>, hot: readonly Bar[] | null): string[] {
  const bdfs = [AT.counter, AT.edu, AT.probe, AT.serial, AT.ring, ...AT.movers, ...(hot === null ? [] : [AT.hot])];
  const moved = movers.flatMap((places, vcpu): Bar[] => [...moverBars(vcpu, ...places)]);
  const bars: Bar[] = [...Object.values(BARS).flat(), ...moved, ...(hot ?? [])];
  const intervals = (space: Bar["space"]): Interval[] =>
    bars.filter((bar) => bar.space === space).map(({ at, size }) => ({ first: at, last: at + size - 1 }));
  const functions = bdfs.map(sbdfOf).map((at) => ({ first: at, last: at }));
  return [...lines("port", intervals("pio")), ...lines("memory", intervals("mmio")), ...lines("function", functions)];
}

export function held(ranges: readonly SimRange[]): string[] {
  const ofType = (wantedType: number): Interval[] =>
    ranges
      .filter(({ type }) => type === wantedType)
      .map(({ start, end }) => ({ first: Number(start), last: Number(end) }));
  return [...lines("port", ofType(0)), ...lines("memory", ofType(1)), ...lines("function", ofType(2))];
}

interface Interval {
  readonly first: number;
  readonly last: number;
}

/** Neighbours are one, as Xen has them. */
function lines(kind: string, intervals: readonly Interval[]): string[] {
  const merged: Array<{ first: number; last: number }> = [];
  for (const { first, last } of [...intervals].sort((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (before !== undefined && before.last + 1 >= first) before.last = Math.max(before.last, last);
    else merged.push({ first, last });
  }
  return merged.map(({ first, last }) => `${kind} 0x${first.toString(16)}-0x${last.toString(16)}`);
}
