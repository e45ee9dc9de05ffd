// SPDX-License-Identifier: MIT
/** What is behind a bridge, between the code of the bridge and those who put devices there and take them away. */

import type { Slot } from "./define.js";

export class BridgeSlot implements Slot {
  readonly #isOccupied: () => boolean;
  readonly reset: () => void;
  #changed: () => void = () => {};
  #requested: (() => void) | null = null;
  /** Called when the guest has let go. */
  onRelease: () => void = () => {};

  constructor(isOccupied: () => boolean, reset: () => void) {
    this.#isOccupied = isOccupied;
    this.reset = reset;
  }

  get occupied(): boolean {
    return this.#isOccupied();
  }

  onChange(handler: () => void): void {
    this.#changed = handler;
  }

  onRequest(handler: () => void): void {
    this.#requested = handler;
  }

  release(): void {
    this.onRelease();
  }

  /** Something came or went. Within a transaction. */
  changed(): void {
    this.#changed();
  }

  /** Ask the guest to let go. False: there is nobody to ask, so take it. Within a transaction. */
  request(): boolean {
    this.#requested?.();
    return this.#requested !== null;
  }
}
