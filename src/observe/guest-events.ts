// SPDX-License-Identifier: MIT
/**
 * What a guest can cause: counted always, printed when it happens for the first
 * time and from then on at most once a second for all kinds together, with the
 * number of events since the last line. A guest can't fill the disk.
 */

import type { Logger } from "./log.js";

const INTERVAL_MS = 1000;
/** Different kinds remembered; further ones are counted together. */
const MOST_KINDS = 1000;

export class GuestEvents {
  readonly counts = new Map<string, number>();
  readonly #log: Logger;
  readonly #now: () => number;
  #printedAt = Number.NEGATIVE_INFINITY;
  #suppressed = 0;

  constructor(log: Logger, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  /** `who`: a device's label, or "" for the server itself. */
  note(who: string, what: string, fields: Record<string, unknown> = {}): void {
    const wanted = who === "" ? what : `${who}: ${what}`;
    const kind = this.counts.has(wanted) || this.counts.size < MOST_KINDS ? wanted : "other";
    const count = (this.counts.get(kind) ?? 0) + 1;
    this.counts.set(kind, count);
    const now = this.#now();
    // The first of a kind is always news: one kind must not hide another.
    if (count > 1 && now - this.#printedAt < INTERVAL_MS) {
      this.#suppressed += 1;
      return;
    }
    this.#printedAt = now;
    this.#log.warn({ ...(who === "" ? {} : { device: who }), ...fields, count, unprinted: this.#suppressed }, what);
    this.#suppressed = 0;
  }
}
