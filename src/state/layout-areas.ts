// SPDX-License-Identifier: MIT
/**
 * The two places of the arena's file where a layout stands. One holds; the next
 * is written into the other, and then the header's count of changes, whose
 * lowest bit says which, makes it hold.
 */

import { IoreqdError } from "../base/errors.js";
import { HEADER } from "./format.js";

/** How often a layout is read again because it was changed meanwhile. */
const MOST_READS = 100;

export class LayoutAreas {
  readonly #u8: Uint8Array;
  readonly #i32: Int32Array;

  constructor(buffer: ArrayBuffer) {
    this.#u8 = new Uint8Array(buffer);
    this.#i32 = new Int32Array(buffer);
  }

  /** The layout that holds now. Also from another process: if it is changed meanwhile, the new one. */
  read(): string {
    for (let read = 0; read < MOST_READS; read += 1) {
      const changes = this.#changes;
      const at = this.#at(changes);
      const text = Buffer.from(this.#u8.slice(at, at + (this.#i32[lengthWord(changes)] as number))).toString();
      // An area is written again only after a further change, so this one was whole all the time.
      if (this.#changes === changes) return text;
    }
    throw new IoreqdError("ARENA_INVALID", "not a usable state file: its layout changes all the time", {});
  }

  /** Write the one that is to hold next. Returns what the count of changes has to be then. Throws ARENA_FULL. */
  prepare(layout: string): number {
    const text = Buffer.from(layout);
    this.check(text.length);
    const changes = (this.#changes + 1) | 0;
    this.#u8.set(text, this.#at(changes));
    this.#i32[lengthWord(changes)] = text.length;
    return changes;
  }

  /** Is there room for a layout of so many bytes? Throws ARENA_FULL. */
  check(length: number): void {
    const room = this.#i32[HEADER.layoutCapacity] as number;
    if (length > room) {
      throw new IoreqdError(
        "ARENA_FULL",
        `the state file has ${room} bytes to name all registers, and ${length} are needed: remove another device first, or restart the guest with all its devices`,
        { room, needed: length },
      );
    }
  }

  get #changes(): number {
    return Atomics.load(this.#i32, HEADER.layoutChanges);
  }

  #at(changes: number): number {
    return (this.#i32[HEADER.layoutAt] as number) + (changes & 1) * (this.#i32[HEADER.layoutCapacity] as number);
  }
}

/** Where the header has the length of the layout after so many changes. */
const lengthWord = (changes: number): number => HEADER.layoutLength + (changes & 1);
