// SPDX-License-Identifier: MIT
/** The bytes that the guest sends by its serial port, and what became of them in a file. */

/** The byte at this position. Eight in a row are found nowhere else nearby. */
export function streamByte(position: number): number {
  let x = Math.imul(position + 1, 0x9e37_79b1);
  x ^= x >>> 15;
  x = Math.imul(x, 0x85eb_ca77);
  return ((x ^ (x >>> 13)) >>> 8) & 0xff;
}

export interface Arrived {
  /** Bytes that came in their order, each for the first time. */
  readonly bytes: number;
  /** Bytes that came again, and in how many pieces. */
  readonly repeated: number;
  readonly repeats: number;
  readonly longestRepeat: number;
  readonly lost: number;
  /** What neither a repeat nor a loss explains: at which byte of the file, or null. */
  readonly foreignAt: number | null;
}

/** So many bytes in a row say where in the stream one is. Fewer, where no more came between two losses. */
const WINDOWS = [8, 4, 2] as const;
/** As far as what comes again, or is missing, is looked for. */
const FARTHEST = 1 << 17;

/** Compare what arrived with the first `sent` bytes of the stream. */
export function compareStream(file: Uint8Array, sent: number): Arrived {
  let [position, repeated, repeats, longestRepeat, lost] = [0, 0, 0, 0, 0];
  const result = (foreignAt: number | null): Arrived => ({
    bytes: position - lost,
    repeated,
    repeats,
    longestRepeat,
    lost: lost + Math.max(0, sent - position),
    foreignAt,
  });
  for (let at = 0; at < file.length; ) {
    if (position < sent && file[at] === streamByte(position)) {
      at += 1;
      position += 1;
      continue;
    }
    const jump = findJump(file, at, position, sent);
    if (jump === 0) return result(at);
    if (jump > 0) {
      lost += jump;
      position += jump;
      continue;
    }
    repeats += 1;
    repeated -= jump;
    longestRepeat = Math.max(longestRepeat, -jump);
    at -= jump;
  }
  return result(null);
}

/** How far from `position` the stream goes on with what comes in the file: back below 0, ahead above, 0 for nowhere. */
function findJump(file: Uint8Array, at: number, position: number, sent: number): number {
  for (const window of WINDOWS) {
    for (let by = 1; by <= FARTHEST; by += 1) {
      if (by <= position && continuesAt(file, at, position - by, sent, window)) return -by;
      if (by <= sent - position && continuesAt(file, at, position + by, sent, window)) return by;
    }
  }
  return 0;
}

/** Is what comes in the file the stream from `position` on? At the end of either fewer bytes have to do. */
function continuesAt(file: Uint8Array, at: number, position: number, sent: number, window: number): boolean {
  const length = Math.min(window, file.length - at, sent - position);
  for (let i = 0; i < length; i += 1) if (file[at + i] !== streamByte(position + i)) return false;
  return length > 0;
}
