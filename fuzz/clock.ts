// SPDX-License-Identifier: MIT
/**
 * A clock that goes when it is told to. It stands in for the process's own timers and monotonic clock, so that
 * an input runs as fast as it can be read, and every time alike.
 */

interface Due {
  readonly at: number;
  readonly run: () => void;
}

export class VirtualClock {
  /** Milliseconds. */
  now = 1;
  readonly #due = new Set<Due>();

  /** From now on the whole process goes by this clock. */
  install(): void {
    const start = (run: () => void, ms = 0): Due => {
      const due = { at: this.now + Math.max(0, ms), run };
      this.#due.add(due);
      return due;
    };
    const stop = (due: Due | null | undefined): void => {
      if (due) this.#due.delete(due);
    };
    Object.assign(globalThis, {
      setTimeout: start,
      clearTimeout: stop,
      setImmediate: (run: () => void) => start(run),
      clearImmediate: stop,
    });
    process.hrtime.bigint = () => BigInt(Math.round(this.now * 1e6));
  }

  /** Run what is due within `ms`, in its order; what that starts as well, up to `most` in all. Returns how many ran. */
  advance(ms: number, most: number): number {
    const end = this.now + ms;
    for (let ran = 0; ; ran += 1) {
      const next = [...this.#due].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end || ran === most) {
        this.now = end;
        return ran;
      }
      this.#due.delete(next);
      this.now = Math.max(this.now, next.at);
      next.run();
    }
  }

  /** How many wait. */
  get waiting(): number {
    return this.#due.size;
  }

  clear(): void {
    this.#due.clear();
  }
}
