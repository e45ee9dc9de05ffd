// SPDX-License-Identifier: MIT
/** What happens, with the seconds since the run was started. */

/** Handed to the processes that belong to this run. */
const STARTED = "IOREQD_LAB_STARTED";

/** What lines of a process begin with that is about one lab of several. */
export const LAB_NAME = "IOREQD_LAB_NAME";

process.env[STARTED] ??= String(Date.now());
const started = Number(process.env[STARTED]);

export function step(what: string): void {
  const seconds = ((Date.now() - started) / 1000).toFixed(1).padStart(6);
  process.stderr.write(`[${seconds} s] ${process.env[LAB_NAME] ?? ""}${what}\n`);
}
