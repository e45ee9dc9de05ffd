// SPDX-License-Identifier: MIT
/** The search: inputs from the corpus, changed; those that reach something new join it. */

import type { VirtualClock } from "./clock.js";
import type { Coverage } from "./coverage.js";
import { FuzzFailure } from "./failure.js";
import { fresh, minimise, mutate } from "./mutate.js";
import type { Random } from "./random.js";
import { runInput } from "./run.js";
import type { Watchdog } from "./watchdog.js";

/** Inputs between two looks at the coverage. A look takes as long as a third of an input. */
const BATCH = 8;
/** Of ten inputs, how many are not made of others. */
const FRESH = 2;
/** Runs that making an input shorter may take. */
const MOST_TRIES = 400;

export interface Parts {
  readonly clock: VirtualClock;
  readonly coverage: Coverage;
  readonly watchdog: Watchdog;
}

export interface Found {
  readonly input: Uint8Array;
  readonly message: string;
}

export class Fuzzer {
  readonly pool: Uint8Array[] = [];
  /** One for each way of failing. */
  readonly failures = new Map<string, Found>();
  inputs = 0;
  steps = 0;
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Start from these. */
  seed(inputs: readonly Uint8Array[]): void {
    for (const input of inputs) {
      this.#run(input);
      this.pool.push(input);
    }
    this.#parts.coverage.take();
  }

  /** A batch of new inputs. */
  round(random: Random): void {
    const { coverage } = this.#parts;
    const batch = Array.from({ length: BATCH }, () => this.#next(random));
    for (const input of batch) this.#run(input);
    if (coverage.take(false) === 0) return;
    for (const input of batch) {
      this.#run(input);
      if (coverage.take() > 0) this.pool.push(input);
    }
  }

  /** Of the pool, what reaches all that it reaches: short inputs first, and none that adds nothing. */
  distil(): Uint8Array[] {
    const { coverage } = this.#parts;
    coverage.take();
    coverage.seen.clear();
    return this.pool
      .toSorted((a, b) => a.length - b.length)
      .filter((input) => {
        this.#run(input);
        return coverage.take() > 0;
      });
  }

  #next(random: Random): Uint8Array {
    if (this.pool.length === 0 || random.below(10) < FRESH) return fresh(random);
    return mutate(random.pick(this.pool), random.pick(this.pool), random);
  }

  #run(input: Uint8Array): void {
    this.inputs += 1;
    const message = this.#failure(input);
    if (message === null || this.failures.has(kindOf(message))) return;
    let tries = 0;
    const shortest = minimise(input, (candidate) => {
      tries += 1;
      if (tries > MOST_TRIES) return false;
      const other = this.#failure(candidate);
      return other !== null && kindOf(other) === kindOf(message);
    });
    this.failures.set(kindOf(message), { input: shortest, message: this.#failure(shortest) ?? message });
  }

  #failure(input: Uint8Array): string | null {
    this.#parts.watchdog.watch(input);
    try {
      this.steps += runInput(input, this.#parts.clock);
      return null;
    } catch (error) {
      if (error instanceof FuzzFailure) return error.message;
      throw error;
    }
  }
}

/** The same failure at another step, of another device or with other numbers is the same failure. */
const kindOf = (message: string): string =>
  message
    .replace(/^step \d+ \([^)]*\): /, "")
    .split("\n")
    .slice(0, 2)
    .join(" ")
    .replace(/0x[0-9a-f]+|\d+/g, "N")
    .slice(0, 120);
