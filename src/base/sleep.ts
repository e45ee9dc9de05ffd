// SPDX-License-Identifier: MIT
/** Waiting where there is nothing else that this thread could do meanwhile. */

/** To sleep on: nobody wakes it. */
const NEVER = new Int32Array(new SharedArrayBuffer(4));

/** The whole thread sleeps. */
export function sleepThread(ms: number): void {
  Atomics.wait(NEVER, 0, 0, ms);
}
