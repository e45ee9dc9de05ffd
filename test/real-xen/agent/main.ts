// SPDX-License-Identifier: MIT
/**
 * Runs guest programs on a real guest, in dom0:
 *
 *     node main.js TTY RUN…      RUN: ["FILE", "WORD"…] in JSON, the program's module and words for it
 *
 * Each report and each outcome is a line of JSON. The status is 0 when every program finished.
 */

import { performance } from "node:perf_hooks";
import { RealGuest } from "./real-guest.js";

async function main(tty: string, runs: readonly string[]): Promise<number> {
  const say = (line: object): void => {
    process.stdout.write(`${JSON.stringify(line)}\n`);
  };
  const guest = await RealGuest.connect(tty);
  let status = 0;
  for (const run of runs) {
    const [file = "", ...words] = JSON.parse(run) as string[];
    const began = performance.now();
    const atMs = (): number => Math.round(performance.now() - began);
    const outcome = await guest.run({
      file,
      arguments: words,
      onReport: (report) => say({ type: report.kind, run, atMs: atMs(), ...report }),
    });
    say({ type: "outcome", run, atMs: atMs(), ...outcome });
    if (!outcome.ok) status = 1;
  }
  guest.close();
  return status;
}

main(process.argv[2] ?? "", process.argv.slice(3)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    process.exitCode = 2;
  },
);
