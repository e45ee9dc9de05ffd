// SPDX-License-Identifier: MIT
/** Walks in which each of many steps comes to grief, one a walk. */

import { type Walked, type Way, walk } from "./walk.js";

const AT_ONCE = 2;

/**
 * Walk at these moments and ask what is wrong with how each walk ended. `stride`: every which of them, from one by chance on;
 * all of them take some minutes, and are what EVERY_STEP=1 asks for.
 */
export async function problemsAt(
  way: Way,
  moments: readonly string[],
  stride: number,
  problems: (way: Way, moment: string, walked: Walked) => string[],
): Promise<string[]> {
  const every = process.env["EVERY_STEP"] === undefined ? stride : 1;
  const offset = Math.floor(Math.random() * every);
  const chosen = moments.filter((_, n) => n % every === offset);
  const found: string[] = [];
  const walker = async (): Promise<void> => {
    for (let moment = chosen.shift(); moment !== undefined; moment = chosen.shift())
      found.push(...problems(way, moment, await walk(way, moment)));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, walker));
  return found;
}
