// SPDX-License-Identifier: MIT
/** What the hypervisor refused because something was short is asked for again, less and less often. */

const FIRST_MS = 10;
const LONGEST_MS = 60_000;

export class SecondTry {
  readonly #ask: () => void;
  #delayMs = FIRST_MS;
  #handle: NodeJS.Timeout | null = null;

  /** `ask` asks for all that is not as it should be, and calls `later` where something is short still. */
  constructor(ask: () => void) {
    this.#ask = ask;
  }

  /** Something was short just now. */
  later(): void {
    this.#handle ??= setTimeout(() => this.#again(), this.#delayMs);
  }

  stop(): void {
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#handle = null;
  }

  #again(): void {
    this.#handle = null;
    this.#delayMs = Math.min(LONGEST_MS, this.#delayMs * 2);
    this.#ask();
    if (this.#handle === null) this.#delayMs = FIRST_MS;
  }
}
