// SPDX-License-Identifier: MIT
/** A soak's figures, as text. */

import { quantile } from "./measure.js";
import type { SoakResult } from "./soak.js";

export function report(result: SoakResult): string {
  const { kills, seconds, killsBy, takeOvers, startCpu, bareNode, pauses, verified, serial, hot } = result;
  const rows: string[] = [`${kills} kills in ${seconds.toFixed(0)} s`];
  const row = (name: string, value: string | number): number => rows.push(`  ${name.padEnd(50)} ${value}`);
  for (const [where, count] of killsBy) row(where, count);
  rows.push("take-overs, in ms");
  row("from the start of a process to ready", spread(takeOvers));
  row("processor time until then", spread(startCpu));
  row("Node.js itself, doing nothing, here and now", bareNode.toFixed(0));
  row("an access that waited for that, as the guest saw it", spread(pauses));
  rows.push("verified");
  for (const [what, count] of Object.entries(verified)) row(what, count);
  if (serial !== null) {
    row("serial bytes in the file, each once and in order", serial.bytes);
    row("of them again", `${serial.repeated}, in ${serial.repeats} pieces, the longest of ${serial.longestRepeat}`);
    row("serial bytes lost", serial.lost);
  }
  row("devices added and removed", `${hot.added} and ${hot.removed}, ${hot.unanswered} requests without an answer`);
  rows.push(result.problems.length === 0 ? "nothing is lost" : "PROBLEMS");
  for (const problem of result.problems) rows.push(`  ${problem}`);
  return `${rows.join("\n")}\n`;
}

function spread(sorted: readonly number[]): string {
  const at = (share: number): string => quantile(sorted, share)?.toFixed(0) ?? "-";
  return `min ${at(0)}, median ${at(0.5)}, p90 ${at(0.9)}, max ${sorted.at(-1)?.toFixed(0) ?? "-"} (${sorted.length})`;
}
