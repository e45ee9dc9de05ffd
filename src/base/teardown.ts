// SPDX-License-Identifier: MIT

/**
 * Start-up is a list of steps, and each names its undoing as it succeeds.
 * `close` runs them in reverse order and goes on after a failure.
 */
export class Teardown {
  readonly #steps: Array<{ what: string; undo: () => void }> = [];

  defer(what: string, undo: () => void): void {
    this.#steps.push({ what, undo });
  }

  /** Undo everything, newest first. A second call finds nothing left to do. */
  close(failed: (what: string, error: unknown) => void): void {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        step.undo();
      } catch (error) {
        failed(step.what, error);
      }
    }
  }
}
