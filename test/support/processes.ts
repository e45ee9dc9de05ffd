// SPDX-License-Identifier: MIT
/** Processes that a test started, and that nobody has a hold on any more. */

import { readdirSync, readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

/** Those that were given this directory in their environment, by pid. One that has ended is not among them. */
export const processesOf = (directory: string): number[] =>
  readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && environmentOf(pid).includes(directory))
    .map(Number);

/** End them, and resolve when the last one is gone: until then it may write. */
export async function endProcessesOf(directory: string): Promise<void> {
  for (let pids = processesOf(directory); pids.length > 0; pids = processesOf(directory)) {
    for (const pid of pids) killQuietly(pid);
    await setTimeout(5);
  }
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8");
  } catch {
    return ""; // it has ended
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it has ended
  }
}
