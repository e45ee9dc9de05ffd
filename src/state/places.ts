// SPDX-License-Identifier: MIT
/**
 * Which parts of the data area are free: those that the layout does not name.
 * There is no other list, so there is none that could disagree with it.
 */

import { align } from "./format.js";

/** Bytes that a place begins on a multiple of. */
const ALIGNMENT = 8;

/** Bytes of the data area: from `at` on, `length` of them. */
export interface Extent {
  readonly at: number;
  readonly length: number;
}

/** The lowest place with room for `length` bytes that lies before `end`, or null. `taken` in any order, disjoint. */
export function firstFit(taken: readonly Extent[], length: number, end: number): number | null {
  let at = 0;
  for (const extent of [...taken].sort((a, b) => a.at - b.at)) {
    if (extent.at - at >= length) break;
    at = align(extent.at + extent.length, ALIGNMENT);
  }
  return at + length <= end ? at : null;
}

/** Bytes that places of these lengths take. */
export const taken = (extents: readonly Extent[]): number =>
  extents.reduce((sum, { length }) => sum + align(length, ALIGNMENT), 0);
