// SPDX-License-Identifier: MIT
/**
 * What counts as growth: the median of a figure's last quarter is above that of its second by more than a tolerance. The first
 * quarter is when caches fill and code is compiled; a median does not follow one sample that was taken at a bad moment.
 */

import { median } from "../measure.js";

export interface Tolerance {
  /** In the figure's own unit, and as a share of its second quarter: the larger one holds. */
  readonly most: number;
  readonly share?: number;
}

export interface Growth {
  readonly before: number;
  readonly after: number;
  readonly allowed: number;
  readonly grows: boolean;
}

/** Fewer say nothing. */
const LEAST_SAMPLES = 8;

export function growth(samples: readonly number[], { most, share = 0 }: Tolerance): Growth {
  const quarter = Math.floor(samples.length / 4);
  if (samples.length < LEAST_SAMPLES) throw new RangeError(`${samples.length} samples: at least ${LEAST_SAMPLES}`);
  const before = median(samples.slice(quarter, quarter * 2)) as number;
  const after = median(samples.slice(-quarter)) as number;
  const allowed = Math.max(most, before * share);
  return { before, after, allowed, grows: after - before > allowed };
}
