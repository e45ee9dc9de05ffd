// SPDX-License-Identifier: MIT
/** New inputs from old ones. */

import type { Random } from "./random.js";

/** Bytes. Longer ones find little that shorter ones don't, and take their time. */
export const LONGEST_INPUT = 2048;
const INTERESTING = [0, 1, 2, 4, 7, 8, 0x10, 0x20, 0x7f, 0x80, 0xc0, 0xf0, 0xfe, 0xff] as const;

export const fresh = (random: Random): Uint8Array => random.bytes(16 + random.below(LONGEST_INPUT / 2));

/** A few changes to `input`; `other` is what is spliced in. */
export function mutate(input: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let bytes = [...input];
  for (let changes = 1 << random.below(5); changes > 0; changes -= 1) {
    const at = random.below(bytes.length + 1);
    const length = 1 + random.below(16);
    switch (random.below(8)) {
      case 0:
        bytes.splice(at, length);
        break;
      case 1:
        bytes.splice(at, 0, ...random.bytes(length));
        break;
      case 2:
        bytes.splice(at, 0, ...bytes.slice(at, at + 4 * length));
        break;
      case 3:
        bytes = [...bytes.slice(0, at), ...other.slice(random.below(other.length + 1))];
        break;
      case 4:
        bytes.splice(at, 0, ...other.slice(random.below(other.length + 1)).slice(0, 4 * length));
        break;
      case 5:
        if (at < bytes.length) bytes[at] = random.pick(INTERESTING);
        break;
      case 6:
        if (at < bytes.length) bytes[at] = ((bytes[at] as number) ^ (1 << random.below(8))) & 0xff;
        break;
      default:
        if (at < bytes.length) bytes[at] = random.below(256);
    }
    if (bytes.length > LONGEST_INPUT) bytes.length = LONGEST_INPUT;
  }
  return Uint8Array.from(bytes.length > 0 ? bytes : random.bytes(16));
}

/** The shortest that still `keeps`: pieces are left out, the large ones first, then bytes become 0. */
export function minimise(input: Uint8Array, keeps: (candidate: Uint8Array) => boolean): Uint8Array {
  let best = input;
  for (let piece = best.length >>> 1; piece > 0; piece >>>= 1) {
    for (let at = 1; at < best.length; ) {
      const candidate = Uint8Array.from([...best.subarray(0, at), ...best.subarray(at + piece)]);
      if (keeps(candidate)) best = candidate;
      else at += piece;
    }
  }
  for (let at = 0; at < best.length; at += 1) {
    if (best[at] === 0) continue;
    const candidate = best.slice();
    candidate[at] = 0;
    if (keeps(candidate)) best = candidate;
  }
  return best;
}
