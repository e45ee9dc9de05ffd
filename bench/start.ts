// SPDX-License-Identifier: MIT
/** From process start to ready, and memory with ten devices served. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../src/base/place.js";
import { runSim } from "../src/sim/index.js";
import { median, type Row } from "./report.js";

const ROUNDS = 7;
const TEN = ["counter", "edu", "pci-serial", "pci-testdev", "pvpanic"].flatMap((name) => [name, name]);

export async function start(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-bench-"));
  try {
    const command = [
      ...[process.execPath, join(PACKAGE_ROOT, "bin", "ioreqd"), "run", "--state-dir", join(directory, "state")],
      ...TEN.flatMap((device) => ["--device", device]),
    ];
    const ready: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) ready.push(await untilReady(command));
    const mib = await residentMemory(command);
    const node = median(Array.from({ length: ROUNDS }, bareNode));
    const list = ready.map((ms) => ms.toFixed(0)).join(", ");
    return [
      {
        what: "start to ready",
        value: median(ready),
        unit: " ms",
        hold: 200,
        detail: `${ROUNDS} starts: ${list}; of which Node.js itself, doing nothing, takes ${node.toFixed(0)} ms`,
      },
      { what: "resident memory", value: mib, unit: " MiB", hold: 64, detail: "ten devices, 100,000 accesses served" },
    ];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Milliseconds from exec to an enabled server. No guest: its threads would start at the same time. */
async function untilReady(command: readonly string[]): Promise<number> {
  const ended = new AbortController();
  let startedAt = 0;
  let ms = 0;
  await runSim({
    command,
    commandOutput: () => {},
    signal: ended.signal,
    onProgress: (event) => {
      if (event.type === "command-started") startedAt = performance.now();
      if (event.type !== "server-enabled") return;
      ms = performance.now() - startedAt;
      ended.abort();
    },
  });
  return ms;
}

function bareNode(): number {
  const began = performance.now();
  spawnSync(process.execPath, ["-e", "0"]);
  return performance.now() - began;
}

/** MiB resident when a guest has done its accesses. */
async function residentMemory(command: readonly string[]): Promise<number> {
  let pid = 0;
  let mib = 0;
  const result = await runSim({
    guest: join(PACKAGE_ROOT, "dist", "bench", "guests", "reads.js"),
    guestArguments: ["100000", "0"],
    command,
    commandOutput: () => {},
    onProgress: (event) => {
      if (event.type === "command-started") pid = event.pid;
      else if (event.type === "guest-ended") mib = residentMib(pid);
    },
  });
  if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join("; "));
  return mib;
}

function residentMib(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}
