// SPDX-License-Identifier: MIT
/** From process start to ready, and memory with ten devices served. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runSim } from "../src/sim/index.js";
import { PACKAGE_ROOT } from "../src/xen/libraries.js";
import { median, type Row } from "./report.js";

const ROUNDS = 7;
const TEN = ["counter", "edu", "pci-serial", "pci-testdev", "pvpanic"].flatMap((name) => [name, name]);

export async function start(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-bench-"));
  const ready: number[] = [];
  const memory: number[] = [];
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const [ms, mib] = await once(directory);
      ready.push(ms);
      memory.push(mib);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const list = (values: number[]): string => values.map((value) => value.toFixed(0)).join(", ");
  return [
    {
      what: "start to ready",
      value: median(ready),
      unit: " ms",
      hold: 200,
      detail: `${ROUNDS} starts: ${list(ready)}`,
    },
    {
      what: "resident memory with ten devices, 100,000 accesses served",
      value: median(memory),
      unit: " MiB",
      hold: 64,
      detail: list(memory),
    },
  ];
}

/** One run: milliseconds from exec to an enabled server, MiB resident when the guest has done its accesses. */
async function once(directory: string): Promise<[number, number]> {
  let startedAt = 0;
  let ms = 0;
  let pid = 0;
  let mib = 0;
  const result = await runSim({
    guest: join(PACKAGE_ROOT, "dist", "bench", "guests", "reads.js"),
    guestArguments: ["100000", "0"],
    command: [
      ...[process.execPath, join(PACKAGE_ROOT, "bin", "ioreqd"), "run", "--state-dir", join(directory, "state")],
      ...TEN.flatMap((device) => ["--device", device]),
    ],
    commandOutput: () => {},
    onProgress: (event) => {
      if (event.type === "command-started") {
        startedAt = performance.now();
        pid = event.pid;
      } else if (event.type === "server-enabled") ms = performance.now() - startedAt;
      else if (event.type === "guest-ended") mib = residentMib(pid);
    },
  });
  if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join("; "));
  return [ms, mib];
}

function residentMib(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}
