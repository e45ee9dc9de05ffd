// SPDX-License-Identifier: MIT
/** What a run on a simulated host came to: plain data, for --json, and as text. */

import type { SimCounters } from "./addon.js";
import type { CommandExit } from "./command.js";
import type { SimArch } from "./host.js";
import type { RoundTrips } from "./round-trips.js";
import type { GuestOutcome } from "./vcpu-outcome.js";

export interface SimProblem {
  readonly code: string;
  readonly message: string;
}

export interface SimResult {
  /** True when the guest program succeeded, the domain did not crash, and the command exited cleanly. */
  readonly ok: boolean;
  /** For the process: 0 when ok, else 1. */
  readonly exitCode: 0 | 1;
  /** Why it is not ok. */
  readonly problems: readonly SimProblem[];
  /** The signal that ended the run, or "abort" for the caller's own. */
  readonly interruptedBy: string | null;
  readonly domain: { readonly vcpus: number; readonly memory: number; readonly arch: SimArch };
  /** Null when none was given, or it was never begun. */
  readonly guest: ({ readonly program: string; readonly steps: number } & GuestOutcome) | null;
  /** Xen's words, if it crashed the domain. */
  readonly crashReason: string | null;
  /** Xen's log. */
  readonly console: string;
  readonly command: ({ readonly argv: readonly string[] } & CommandExit) | null;
  /** As they were when the guest had ended, and the device model was still there. */
  readonly counters: SimCounters;
  /** What was still there after the command had gone: all 0 when it tidied up. */
  readonly leftovers: { readonly servers: number; readonly clients: number; readonly mappedPages: number };
  /** In nanoseconds. Empty for guest programs in C. */
  readonly roundTrips: RoundTrips;
  /** Milliseconds. Until a server was enabled (null: never was), that the guest ran (null: did not), and in all. */
  readonly times: { readonly serverMs: number | null; readonly guestMs: number | null; readonly totalMs: number };
}

/** A dozen lines for a person. */
export function formatSimResult(result: SimResult): string {
  const { counters: c, times, guest, command } = result;
  const lines: string[] = [];
  if (guest !== null) {
    const done = guest.vcpus.filter(({ state }) => state === "finished").length;
    const took = times.guestMs === null ? "" : ` in ${formatMs(times.guestMs)}`;
    lines.push(
      `guest        ${guest.program}: ${done} of ${guest.vcpus.length} vCPUs finished${took}, ${guest.steps} steps`,
    );
  }
  lines.push(
    `requests     ${c.pio} port, ${c.copy} memory, ${c.pciConfig} config, ${c.buffered} buffered, ${c.invalidate} invalidate; ${c.unhandled + c.aborted} unclaimed`,
    `interrupts   ${c.intxOps} line changes, ${c.msiOps} MSIs`,
    `dm ops       ${c.dmOps}, of which ${c.dmOpErrors} failed; ${c.ranges} ranges of ${c.servers} servers`,
  );
  for (const [kind, trip] of Object.entries(result.roundTrips)) {
    lines.push(
      `${kind.padEnd(12)} ${String(trip.count).padStart(8)}  p50 ${formatNs(trip.p50)}  p99 ${formatNs(trip.p99)}  max ${formatNs(trip.max)}`,
    );
  }
  if (command !== null) {
    const how = command.signal === null ? `exit code ${command.exitCode}` : `killed by ${command.signal}`;
    lines.push(`command      ${how}${command.endedBy === "itself" ? "" : `, after our ${command.endedBy}`}`);
  }
  for (const problem of result.problems) lines.push(`FAILED       ${problem.message} [${problem.code}]`);
  if (result.crashReason !== null) lines.push("Xen's log:", ...result.console.trimEnd().split("\n"));
  const took = `(${formatMs(times.totalMs)})`;
  lines.push(result.ok ? `ok ${took}` : `not ok ${took}`);
  return lines.join("\n");
}

function formatMs(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function formatNs(ns: number): string {
  if (ns < 1e4) return `${(ns / 1e3).toFixed(2)} µs`.padStart(9);
  return (ns < 1e7 ? `${(ns / 1e3).toFixed(0)} µs` : `${(ns / 1e6).toFixed(0)} ms`).padStart(9);
}
