// SPDX-License-Identifier: MIT
/** What happens, with the seconds since the start. */

const started = Date.now();

export function step(what: string): void {
  process.stderr.write(`[${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s] ${what}\n`);
}
