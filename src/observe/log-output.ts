// SPDX-License-Identifier: MIT
/**
 * Where log lines go: a descriptor, written synchronously. What it does not take (its disk is full, nobody reads it any more)
 * is counted and left out: a guest is served without a log, too. The first line that goes again is preceded by how many did not.
 */

import { writeSync } from "node:fs";
import { sleepThread } from "../base/sleep.js";

const NEWLINE = 10;
/** A reader that is merely slow has so long, in ms: the guest waits meanwhile. */
const SLOW_MS = 100;
/** Source: pino's levels, warn. */
const WARN = 40;

export class LogOutput {
  readonly #fd: number;
  #lost = 0;
  /** The last line that went did so in part. */
  #isCut = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** `line` has its newline. */
  write(line: string): void {
    if (this.#lost > 0) {
      const note = { level: WARN, time: Date.now(), lines: this.#lost, msg: "log lines lost" };
      if (this.#put(`${this.#isCut ? "\n" : ""}${JSON.stringify(note)}\n`)) this.#lost = 0;
    }
    if (this.#lost > 0 || !this.#put(line)) this.#lost += 1;
  }

  /** Whether all of it went. */
  #put(text: string): boolean {
    let rest = Buffer.from(text);
    const until = performance.now() + SLOW_MS;
    while (rest.length > 0) {
      try {
        const count = writeSync(this.#fd, rest);
        if (count > 0) this.#isCut = rest[count - 1] !== NEWLINE;
        rest = rest.subarray(count);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== "EAGAIN" || performance.now() > until) return false;
        sleepThread(1);
      }
    }
    return true;
  }
}
