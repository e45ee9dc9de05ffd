// SPDX-License-Identifier: MIT
/** Figures of processes and of lists. */

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** The kernel's unit in /proc on every architecture that Xen runs on: 100 a second. */
const TICK_MS = 10;
const BARE_RUNS = 5;

/** Median milliseconds of a program that does nothing. */
export function bareNode(): number {
  const runs = Array.from({ length: BARE_RUNS }, () => {
    const began = performance.now();
    spawnSync(process.execPath, ["-e", ""]);
    return performance.now() - began;
  });
  return median(runs) as number;
}

/** Of a process, all its threads, in ms; null when it has ended. Source: proc(5), stat: utime and stime. */
export function cpuTime(pid: number): number | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    return null;
  }
}

export const countDescriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

export function median(values: readonly number[]): number | null {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

/** Of sorted values; null where there are none. */
export function quantile(sorted: readonly number[], share: number): number | null {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
}

export function sum(all: ReadonlyArray<Readonly<Record<string, number>>>): Record<string, number> {
  const total: Record<string, number> = {};
  for (const one of all) for (const [name, value] of Object.entries(one)) total[name] = (total[name] ?? 0) + value;
  return total;
}
