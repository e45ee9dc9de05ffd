// SPDX-License-Identifier: MIT
/** What of a process and its host is looked at, and how much of it is no growth. */

import { type Growth, growth, type Tolerance } from "./growth.js";

export interface Sample {
  /** Simulated. */
  readonly hour: number;
  readonly pid: number;
  readonly values: Readonly<Record<FigureName, number>>;
}

export type FigureName =
  | "resident memory, KiB"
  | "V8 heap, KiB"
  | "external memory, KiB"
  | "array buffers, KiB"
  | "descriptors"
  | "mappings"
  | "pages of the guest"
  | "ioreq servers"
  | "ranges of Xen"
  | "connections to Xen"
  | "state file, KiB"
  | "files of the state"
  | "keys of xenstore"
  | "lines of the log, an hour";

export interface Figure extends Tolerance {
  readonly name: FigureName;
  /** `process`: in the life of the one that serves longest. `rate`: what comes on top there in an hour. `host`: over all of them. */
  readonly of: "process" | "host" | "rate";
}

/** What a process says of its memory, in bytes. */
export interface MemorySample extends NodeJS.MemoryUsage {
  /** What V8 has mapped for its young generation. */
  readonly youngBytes: number;
}

/** V8 maps its heap in pages of this size, each on its own. */
export const HEAP_PAGE_BYTES = 256 * 1024;

/**
 * Memory is judged after a collection, and without V8's young generation: that is doubled now and then, up to 16 MiB for each
 * half, by how much lives at the moment it is full. The rest of the heap's pages V8 gives back when it likes.
 */
export const FIGURES: readonly Figure[] = [
  { name: "resident memory, KiB", of: "process", most: 6144, share: 0.06 },
  { name: "V8 heap, KiB", of: "process", most: 512, share: 0.04 },
  { name: "external memory, KiB", of: "process", most: 256 },
  { name: "array buffers, KiB", of: "process", most: 128 },
  { name: "descriptors", of: "process", most: 0 },
  { name: "mappings", of: "process", most: 16, share: 0.05 },
  { name: "pages of the guest", of: "process", most: 0 },
  { name: "ioreq servers", of: "host", most: 0 },
  { name: "ranges of Xen", of: "host", most: 0 },
  { name: "connections to Xen", of: "host", most: 0 },
  { name: "state file, KiB", of: "host", most: 0 },
  { name: "files of the state", of: "host", most: 0 },
  { name: "keys of xenstore", of: "host", most: 0 },
  { name: "lines of the log, an hour", of: "rate", most: 60, share: 0.25 },
];

export interface Judged extends Growth {
  readonly figure: Figure;
  /** What is wrong; null when nothing is. */
  readonly what: string | null;
}

export function judge(samples: readonly Sample[]): Judged[] {
  return FIGURES.map((figure) => {
    const found = growth(seriesOf(figure, samples), figure);
    const { before, after, allowed, grows } = found;
    const by = `by ${(after - before).toFixed(0)}, from ${before.toFixed(0)} to ${after.toFixed(0)}; ${allowed.toFixed(0)} is allowed`;
    return { ...found, figure, what: grows ? `grows ${by}` : null };
  });
}

function seriesOf({ name, of }: Figure, all: readonly Sample[]): number[] {
  const longest = all[0]?.pid;
  const samples = of === "host" ? all : all.filter(({ pid }) => pid === longest);
  if (of !== "rate") return samples.map(({ values }) => values[name]);
  // Lines come one by one: in what is too short for some of them there is no rate.
  const width = Math.ceil(samples.length / 8);
  return samples.slice(width).map(({ values, hour }, n) => {
    const before = samples[n] as Sample;
    return (values[name] - before.values[name]) / (hour - before.hour);
  });
}
