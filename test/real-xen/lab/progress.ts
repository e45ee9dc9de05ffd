// SPDX-License-Identifier: MIT
/** What happens, with the seconds since the run was started. */

/** Handed to the processes that belong to this run. */
const STARTED = "IOREQD_LAB_STARTED";

process.env[STARTED] ??= String(Date.now());
const started = Number(process.env[STARTED]);

export function step(what: string): void {
  process.stderr.write(`[${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s] ${what}\n`);
}
