// SPDX-License-Identifier: MIT
/** A day's figures, as text. */

import type { DayResult } from "./day.js";

export function reportDay({ hours, seconds, brought, judged, problems }: DayResult): string {
  const rows = [`${hours.toFixed(1)} hours of a guest's life in ${seconds.toFixed(0)} s; they brought`];
  for (const [what, count] of Object.entries(brought)) rows.push(`  ${what.padEnd(34)} ${count}`);
  rows.push(
    `${"medians of the second and of the last quarter".padEnd(36)} ${["second", "last", "allowed more"].map((word) => word.padStart(12)).join("")}`,
  );
  for (const { figure, before, after, allowed, what } of judged) {
    const numbers = [before, after, allowed].map((value) => value.toFixed(0).padStart(12)).join("");
    rows.push(`  ${figure.name.padEnd(34)} ${numbers}${what === null ? "" : "  GROWS"}`);
  }
  rows.push(problems.length === 0 ? "nothing grows" : "PROBLEMS", ...problems.map((problem) => `  ${problem}`));
  return `${rows.join("\n")}\n`;
}
