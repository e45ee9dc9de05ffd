// SPDX-License-Identifier: MIT
/** Round trips on xensim: ioreqd against C servers, in turns in one run, so that the machine's moods hit all alike. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../src/base/place.js";
import { runSim } from "../src/sim/index.js";
import { median, type Row } from "./report.js";

const ROUNDS = 5;
const READS = "100000";
const WARM_UP = "20000";

interface Figures {
  p50: number;
  p99: number;
}

export async function roundTrip(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-bench-"));
  try {
    return compare(await measure(directory));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The C server of bench/c, compiled; its path. */
export function buildServer(directory: string): string {
  const program = join(directory, "server");
  const libraries = ["-lxendevicemodel", "-lxenforeignmemory", "-lxenevtchn"];
  execFileSync("cc", ["-O2", "-Wall", "-o", program, join(PACKAGE_ROOT, "bench", "c", "server.c"), ...libraries], {
    stdio: "inherit",
  });
  return program;
}

async function measure(directory: string): Promise<Record<string, Figures[]>> {
  const server = buildServer(directory);
  const ioreqd = (window: string): string[] => [
    ...[process.execPath, join(PACKAGE_ROOT, "bin", "ioreqd"), "run", "--device", "counter,addr=00:10.0"],
    ...["--bufioreq", "off", "--poll-window", window, "--state-dir", join(directory, "state")],
  ];
  const servers: Record<string, string[]> = {
    "C, poll loop": [server],
    "ioreqd, event-driven": ioreqd("0"),
    "ioreqd, adaptive polling": ioreqd("200"),
    "C, spinning": [server, "--spin"],
  };
  const figures: Record<string, Figures[]> = {};
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, command] of Object.entries(servers)) {
      const result = await runSim({
        guest: join(PACKAGE_ROOT, "dist", "bench", "guests", "reads.js"),
        guestArguments: [READS, WARM_UP],
        command,
        commandOutput: () => {},
      });
      const trip = result.roundTrips.mmioRead;
      if (!result.ok || trip === undefined)
        throw new Error(`${name}: ${result.problems.map(({ message }) => message).join("; ")}`);
      figures[name] = [...(figures[name] ?? []), { p50: trip.p50, p99: trip.p99 }];
    }
  }
  return figures;
}

function compare(figures: Record<string, Figures[]>): Row[] {
  const of = (name: string, percentile: keyof Figures): number =>
    median((figures[name] ?? []).map((one) => one[percentile]));
  const us = (name: string): string =>
    `p50 ${(of(name, "p50") / 1000).toFixed(2)} us, p99 ${(of(name, "p99") / 1000).toFixed(1)} us`;
  const ratio = (what: string, a: string, b: string, percentile: keyof Figures, hold: number): Row => ({
    what,
    value: of(a, percentile) / of(b, percentile),
    unit: "x",
    hold,
    detail: `${us(a)}; against ${us(b)}`,
  });
  return [
    ratio("event-driven against a C poll loop, p50", "ioreqd, event-driven", "C, poll loop", "p50", 1.25),
    ratio("adaptive polling against a C poll loop, p50", "ioreqd, adaptive polling", "C, poll loop", "p50", 0.25),
    ratio("adaptive polling against a C poll loop, p99", "ioreqd, adaptive polling", "C, poll loop", "p99", 1),
    ratio("adaptive polling against a spinning C server, p50", "ioreqd, adaptive polling", "C, spinning", "p50", 1.3),
  ];
}
