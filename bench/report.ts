// SPDX-License-Identifier: MIT

/** One figure, and the number to hold: at most `hold`. */
export interface Row {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly hold: number;
  readonly detail: string;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

export function formatRow({ what, value, unit, hold, detail }: Row): string {
  const verdict = value <= hold ? "holds" : "MISSED";
  return `${verdict.padEnd(7)} ${what}: ${value.toFixed(2)}${unit} (hold ${hold}${unit})\n        ${detail}`;
}
