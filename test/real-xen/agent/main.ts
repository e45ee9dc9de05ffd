// SPDX-License-Identifier: MIT
/**
 * Runs guest programs on a real guest, one after the other, in dom0:
 *
 *     node main.js TTY RUN…      RUN: a ProgramRun in JSON
 *
 * Each report and each outcome is a line of JSON, a RunLine.
 */

import { performance } from "node:perf_hooks";
import type { GuestOutcome } from "../../../src/sim/vcpu-outcome.js";
import { RealGuest } from "./real-guest.js";

export interface ProgramRun {
  readonly name: string;
  /** The program's compiled module. */
  readonly file: string;
  readonly arguments: readonly string[];
  readonly vcpus: number;
}

/** `atMs` counts from the program's beginning. */
export type RunLine = { readonly name: string; readonly atMs: number } & (
  | { readonly kind: "step" | "log"; readonly vcpu: number; readonly text: string }
  | { readonly kind: "outcome"; readonly outcome: GuestOutcome }
);

async function main(tty: string, runs: readonly string[]): Promise<void> {
  const say = (line: RunLine): void => {
    process.stdout.write(`${JSON.stringify(line)}\n`);
  };
  const guest = await RealGuest.connect(tty);
  for (const run of runs) {
    const { name, vcpus, ...program } = JSON.parse(run) as ProgramRun;
    const began = performance.now();
    const atMs = (): number => Math.round(performance.now() - began);
    const outcome = await guest.run(
      { ...program, onReport: ({ kind, vcpu, text }) => say({ name, atMs: atMs(), kind, vcpu, text }) },
      vcpus,
    );
    say({ name, atMs: atMs(), kind: "outcome", outcome });
  }
  guest.close();
}

main(process.argv[2] ?? "", process.argv.slice(3)).catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
