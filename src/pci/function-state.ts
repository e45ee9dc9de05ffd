// SPDX-License-Identifier: MIT
/** What is kept of a function beside its registers: the level of its line, and its quarantine. */

import type { Register } from "../bus/register.js";
import { STATUS } from "../spec/pci.js";
import type { Arena } from "../state/arena.js";
import type { PlaceDescription } from "../state/layout.js";
import type { Intx } from "./define.js";

/** Words of it. `since`: when the first of `deaths` was, in seconds of CLOCK_MONOTONIC. */
const WORD = { level: 0, quarantined: 1, deaths: 2, since: 3 } as const;
/** Deaths further apart have nothing to do with each other, in seconds. */
const WINDOW = 600;

export const FUNCTION_STATE: { places: readonly PlaceDescription[]; length: number } = {
  places: Object.entries(WORD).map(([name, word]) => ({ name, at: word * 4, width: 4, kind: "number" })),
  length: Object.keys(WORD).length * 4,
};

export class FunctionState {
  readonly #arena: Arena;
  /** Index of its first word. */
  readonly #at: number;

  /** `at`: offset of the group in the arena's data area. */
  constructor(arena: Arena, at: number) {
    this.#arena = arena;
    this.#at = (arena.dataAt + at) >>> 2;
  }

  get raised(): boolean {
    return this.#load("level") !== 0;
  }

  get quarantined(): boolean {
    return this.#load("quarantined") !== 0;
  }

  /** As after power-on. Within a transaction. A reset is nothing that ends a quarantine: the guest can ask for one. */
  reset(): void {
    this.#arena.setWord(this.#at + WORD.level, 0);
  }

  /**
   * One more process died in work of this function that nobody asked for: `now` in ms of CLOCK_MONOTONIC. Returns how
   * many that makes within ten minutes. Between transactions.
   */
  noteDeath(now: number): number {
    const seconds = Math.floor(now / 1000);
    const isLate = seconds - this.#load("since") > WINDOW;
    const deaths = isLate ? 1 : this.#load("deaths") + 1;
    if (deaths === 1) this.#settle("since", seconds);
    this.#settle("deaths", deaths);
    return deaths;
  }

  /** Between transactions. */
  quarantine(): void {
    this.#settle("quarantined", 1);
  }

  /** Within a transaction. */
  forgive(): void {
    for (const name of ["quarantined", "deaths", "since"] as const) this.#arena.setWord(this.#at + WORD[name], 0);
  }

  /** The line, for the device's own code. `status`: the STATUS register; `changed` is called with each change. */
  line(status: Register, changed: () => void): Intx {
    const set = (level: 0 | 1): void => {
      if (this.#load("level") === level) return;
      this.#arena.setWord(this.#at + WORD.level, level);
      status.value = level === 1 ? status.value | STATUS.interrupt : status.value & ~STATUS.interrupt;
      changed();
    };
    const raised = (): boolean => this.raised;
    return {
      raise: () => set(1),
      lower: () => set(0),
      get raised() {
        return raised();
      },
    };
  }

  #load(name: keyof typeof WORD): number {
    return this.#arena.i32[this.#at + WORD[name]] as number;
  }

  #settle(name: keyof typeof WORD, value: number): void {
    this.#arena.settle(this.#at + WORD[name], value);
  }
}
