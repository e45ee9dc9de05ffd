// SPDX-License-Identifier: MIT
/** From a register that is written to a message in the guest: ioreqd against C servers on xensim, in turns in one run. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../src/base/place.js";
import { runSim } from "../src/sim/index.js";
import { median, type Row } from "./report.js";
import { buildServer } from "./round-trip.js";

const ROUNDS = 5;
const COUNTED = "20000";
const WARM_UP = "5000";

export async function messages(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-bench-"));
  try {
    return await compare(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function compare(directory: string): Promise<Row[]> {
  const server = buildServer(directory);
  const ioreqd = (window: string): string[] => [
    ...[process.execPath, join(PACKAGE_ROOT, "bin", "ioreqd"), "run", "--device", `${bench("bell")},addr=00:10.0`],
    ...["--bufioreq", "off", "--poll-window", window, "--state-dir", join(directory, "state")],
  ];
  const pairs = [
    { what: "event-driven against a C poll loop", ours: ioreqd("0"), theirs: [server, "--msi"] },
    { what: "adaptive polling against a spinning C server", ours: ioreqd("200"), theirs: [server, "--msi", "--spin"] },
  ];
  const rows: Row[] = [];
  for (const { what, ours, theirs } of pairs) {
    const times = { ours: [] as number[], theirs: [] as number[] };
    for (let round = 0; round < ROUNDS; round += 1) {
      times.ours.push(await p50(ours));
      times.theirs.push(await p50(theirs));
    }
    const [a, b] = [median(times.ours), median(times.theirs)];
    const detail = `p50 ${(a / 1000).toFixed(2)} us against ${(b / 1000).toFixed(2)} us, of writing, sending and receiving`;
    rows.push({ what: `a message to the guest, ${what}, p50`, value: a / b, unit: "x", hold: 1.5, detail });
  }
  return rows;
}

const bench = (name: string): string => join(PACKAGE_ROOT, "dist", "bench", "guests", `${name}.js`);

/** Nanoseconds, as the guest measured them. */
async function p50(command: readonly string[]): Promise<number> {
  let found = Number.NaN;
  const result = await runSim({
    guest: bench("messages"),
    guestArguments: [COUNTED, WARM_UP],
    command,
    commandOutput: () => {},
    onProgress: (event) => {
      if (event.type === "step") found = Number(event.detail["p50"]);
    },
  });
  if (!result.ok) throw new Error(`${command[0]}: ${result.problems.map(({ message }) => message).join("; ")}`);
  return found;
}
