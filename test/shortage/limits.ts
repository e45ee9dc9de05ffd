// SPDX-License-Identifier: MIT
/** Real limits of a process that runs: prlimit(1), of Debian's util-linux. */

import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";

const descriptorsOf = (pid: number): number[] => readdirSync(`/proc/${pid}/fd`).map(Number);

/** From now on it gets no further descriptor. Returns what undoes that. */
export function withoutDescriptors(pid: number): () => void {
  const before = execFileSync("prlimit", ["--pid", String(pid), "--nofile", "--noheadings", "--output", "SOFT,HARD"], {
    encoding: "utf8",
  });
  const [soft, hard] = before.trim().split(/\s+/);
  // The next one would get the lowest number that is free.
  const open = new Set(descriptorsOf(pid));
  let limit = 0;
  while (open.has(limit)) limit += 1;
  execFileSync("prlimit", ["--pid", String(pid), `--nofile=${limit}:${hard}`]);
  return () => void execFileSync("prlimit", ["--pid", String(pid), `--nofile=${soft}:${hard}`]);
}
