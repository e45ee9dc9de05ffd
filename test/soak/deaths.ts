// SPDX-License-Identifier: MIT
/** When each process of a soak dies. */

import {
  type FaultPoint,
  NOTE_POINTS,
  REQUEST_POINTS,
  RING_POINTS,
  TAKEOVER_POINTS,
  XEN_POINTS,
} from "../takeover/fault-points.js";
import type { Random } from "./random.js";

/** At a named point of its way, the n-th time that it comes there; or so long after something, wherever it is then. */
export type Death =
  | { readonly at: FaultPoint; readonly nth: number }
  | { readonly after: "spawn" | "ready"; readonly ms: number };

export const POINTS: readonly FaultPoint[] = [
  ...REQUEST_POINTS,
  ...RING_POINTS,
  ...XEN_POINTS,
  ...NOTE_POINTS,
  ...TAKEOVER_POINTS,
];

/** Half of all deaths are at named points. The others are at any moment, some of them before it is ready. */
const AT_POINTS = 0.5;
const BEFORE_READY = 0.15;
const SOON_MS = 3;
const LATER_MS = 40;

export class Deaths {
  readonly #random: Random;
  readonly #points: readonly FaultPoint[];
  readonly #onlyPoints: boolean;
  #next = 0;

  /** `points`: die there and nowhere else; null for all of it. */
  constructor(random: Random, points: readonly FaultPoint[] | null) {
    this.#random = random;
    this.#points = points ?? POINTS;
    this.#onlyPoints = points !== null;
  }

  /** `startMs`: how long a process takes until it is ready. */
  next(startMs: number): Death {
    const random = this.#random;
    const kind = random.fraction();
    if (this.#onlyPoints || kind < AT_POINTS) {
      // One after the other, so that each has its turn.
      const at = this.#points[this.#next % this.#points.length] as FaultPoint;
      this.#next += 1;
      return { at, nth: random.between(1, mostOf(at)) };
    }
    if (kind < AT_POINTS + BEFORE_READY) return { after: "spawn", ms: random.fraction(startMs * 1.1) };
    return { after: "ready", ms: random.fraction(random.between(0, 2) === 0 ? SOON_MS : LATER_MS) };
  }
}

const REQUESTS: readonly string[] = REQUEST_POINTS;
const TAKEOVER: readonly string[] = TAKEOVER_POINTS;
/** Where a device that is added, or a late answer, has to come by. */
const RARE: readonly string[] = [
  ...["before a function is claimed", "after a function is claimed"],
  ...[
    "after a late answer is noted",
    "after a late answer is committed",
    "after a late answer is given",
    "after a reply is noted",
  ],
];
const ONCE: readonly string[] = ["before recovery", "after recovery", "after the pages are mapped"];

/** How often a process comes there soon. */
function mostOf(point: FaultPoint): number {
  if (RARE.includes(point) || ONCE.includes(point)) return 1;
  if (TAKEOVER.includes(point)) return point.endsWith("bound") ? 3 : 2;
  return REQUESTS.includes(point) ? 300 : 5;
}
