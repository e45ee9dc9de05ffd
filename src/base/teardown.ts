// SPDX-License-Identifier: MIT
import { isShortage } from "./shortage.js";
import { sleepThread } from "./sleep.js";

/** Waits between tries to undo what something is short for, in milliseconds. Nobody does it later: the process ends. */
const PAUSES_MS = [10, 20, 40, 80, 160];

/**
 * Start-up is a list of steps, and each names its undoing as it succeeds.
 * `close` runs them in reverse order and goes on after a failure.
 */
export class Teardown {
  readonly #steps: Array<{ what: string; undo: () => void }> = [];

  defer(what: string, undo: () => void): void {
    this.#steps.push({ what, undo });
  }

  /**
   * Undo everything, newest first. Where something is short it is tried again for 0.3 s. A second call finds nothing left to
   * do.
   */
  close(failed: (what: string, error: unknown) => void): void {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        patiently(step.undo);
      } catch (error) {
        failed(step.what, error);
      }
    }
  }
}

function patiently(undo: () => void): void {
  for (const ms of PAUSES_MS) {
    try {
      undo();
      return;
    } catch (error) {
      if (!isShortage(error)) throw error;
      sleepThread(ms);
    }
  }
  undo();
}
