// SPDX-License-Identifier: MIT
/**
 * Adaptive polling: after serving, look at the slots for a while before
 * sleeping, because the next request is often a microsecond away and an event
 * costs ten.
 *
 * How long to look without finding anything is learnt: it doubles when a
 * request arrives within it and halves when none does, as KVM's halt polling
 * does. And however busy the guest is, the loop gets its turn after `budget`,
 * so timers and sockets wait no longer than that.
 */

/** Microseconds. */
export interface PollingOptions {
  /** Longest time to look for the next request; 0 turns polling off. */
  readonly window: number;
  /** Longest time before timers and sockets get their turn. */
  readonly budget: number;
}

const SHORTEST_WINDOW = 10;
/** Slots looked at between two looks at the clock: a slot costs ten nanoseconds, the clock fifty. */
const SLOTS_PER_CLOCK = 128;

export const DEFAULT_POLLING: PollingOptions = { window: 200, budget: 1000 };

export class AdaptivePolling {
  readonly #options: PollingOptions;
  readonly #looksPerClock: number;
  #window: number;
  #asleepSince = 0;

  /** `slots`: how many one call of `serve` looks at. */
  constructor(options: PollingOptions, slots: number) {
    this.#options = options;
    this.#looksPerClock = Math.max(1, Math.floor(SLOTS_PER_CLOCK / Math.max(1, slots)));
    this.#window = Math.min(SHORTEST_WINDOW, options.window);
  }

  get enabled(): boolean {
    return this.#options.window > 0;
  }

  /** An event ended the sleep. Had we looked a little longer, we would have found it: look longer next time. */
  woken(): void {
    // With polling off the clock is not even looked at: on a PV dom0 that is a system call.
    if (!this.enabled) return;
    if ((performance.now() - this.#asleepSince) * 1000 < this.#options.window) this.#grow();
  }

  /**
   * Call `serve` (true: it found something) until nothing came for the window,
   * or the budget is used up. Returns true in the latter case: there is more to
   * expect, come back after the loop's turn.
   */
  run(serve: () => boolean): boolean {
    if (!this.enabled) return false;
    const start = performance.now();
    const end = start + this.#options.budget / 1000;
    let found = false;
    let quietSince = start;
    for (;;) {
      let hit = false;
      for (let look = 0; look < this.#looksPerClock; look += 1) {
        if (serve()) hit = true;
      }
      const now = performance.now();
      if (hit) {
        found = true;
        quietSince = now;
        if (now >= end) return true;
      } else if ((now - quietSince) * 1000 >= this.#window) {
        if (found) this.#grow();
        else this.#window = Math.max(SHORTEST_WINDOW, this.#window / 2);
        this.#asleepSince = now;
        return false;
      }
    }
  }

  #grow(): void {
    this.#window = Math.min(this.#options.window, this.#window * 2);
  }
}
