// SPDX-License-Identifier: MIT
/** What more than one schema of data from outside needs. */

import * as v from "valibot";

/** A whole number, both limits included. */
export const integer = (least: number, most: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));
