// SPDX-License-Identifier: MIT
/** Guest memory: some at the bottom, some beyond 4 GiB, and nothing in between. */

import type { GuestMemory } from "../src/ioreq/bus.js";
import { must } from "./failure.js";

const SIZE = 0x1_0000;
const ABOVE = 0x1_0000_0000n;
/** As large as a request or a device of ours may ask for in one piece. */
const LONGEST = 4096;

export class GuestRam implements GuestMemory {
  readonly low = new Uint8Array(SIZE);
  readonly high = new Uint8Array(SIZE);
  touch: () => void = () => {};

  read(gpa: bigint, target: Uint8Array): boolean {
    const bytes = this.#at(gpa, target.length);
    if (bytes !== null) target.set(bytes);
    return bytes !== null;
  }

  write(gpa: bigint, source: Uint8Array): boolean {
    const bytes = this.#at(gpa, source.length);
    if (bytes !== null) bytes.set(source);
    return bytes !== null;
  }

  invalidate(): void {
    this.touch();
  }

  #at(gpa: bigint, length: number): Uint8Array | null {
    this.touch();
    must(length <= LONGEST, () => `${length} bytes of guest memory at once`);
    const [bank, from] = gpa >= ABOVE ? [this.high, gpa - ABOVE] : [this.low, gpa];
    if (from < 0n || from + BigInt(length) > BigInt(SIZE)) return null;
    return bank.subarray(Number(from), Number(from) + length);
  }
}
