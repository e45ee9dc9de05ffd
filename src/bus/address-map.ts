// SPDX-License-Identifier: MIT
/**
 * Which block answers an address. Regions may overlap (a guest can place two
 * BARs on one address): the one given first wins, always, and the map is cut
 * into disjoint segments when it changes so that a look-up need not know.
 */

/** What an address leads to. Offsets in bytes from the start of its region; values as RegisterBlock has them. */
export interface Target {
  read(offset: number, width: number): number;
  write(offset: number, width: number, value: number): void;
  accepts(offset: number, width: 1 | 2 | 4 | 8): boolean;
  nameAt(offset: number, width: number): string;
  /** Who really answers, where that is somebody else: a window into another space. */
  describe?(offset: number, width: number): Description;
}

/** Which device and register an access concerns, for logs. */
export interface Description {
  /** "0000:00:10.0 edu bar0", "0000:00:10.0 edu config", or "" where nobody is. */
  device: string;
  register: string;
  offset: number;
}

/** Where nobody is. */
export const nobodyAt = (offset: number): Description => ({ device: "", register: "", offset });

/** A decoded region: `size` bytes, at most 2^31, not crossing a 4 GiB line. */
export interface Region {
  readonly base: number;
  readonly size: number;
  readonly target: Target;
  /** For logs: "00:10.0 edu bar0". */
  readonly label: string;
  /** The parts of it that can be reached, ascending and disjoint: behind a bridge, those in its windows. All unless told. */
  readonly within?: readonly Interval[];
}

/** A region that does not answer at some of its addresses, because an earlier one does. */
export interface Hidden {
  readonly region: Region;
  readonly by: Region;
  /** The first such address. */
  readonly first: number;
}

/** Inclusive, as Xen counts. */
export interface Interval {
  readonly first: number;
  readonly last: number;
}

/** A piece of a region; 64-bit addresses as two int32, so that looking up makes no heap numbers. */
export class Segment {
  readonly hi: number;
  readonly lo: number;
  /** Low word of the region's base: offset in the region = address - regionLo. */
  readonly regionLo: number;

  constructor(
    readonly first: number,
    readonly size: number,
    readonly region: Region,
  ) {
    this.hi = Math.floor(first / 0x1_0000_0000) | 0;
    this.lo = first | 0;
    this.regionLo = region.base | 0;
  }

  contains(hi: number, lo: number): boolean {
    return hi === this.hi && (lo - this.lo) >>> 0 < this.size;
  }

  offset(lo: number): number {
    return (lo - this.regionLo) >>> 0;
  }

  /** Bytes from this address to the end of the segment. */
  room(lo: number): number {
    return this.size - ((lo - this.lo) >>> 0);
  }
}

const PAGE_BITS = 12;
/** A power of two. */
const RECENT = 1024;

export class AddressMap {
  #segments: Segment[] = [];
  #firsts = new Float64Array(0);
  /** Segments found before, by bits of their page: devices take turns, so one is not enough. */
  readonly #recent: Array<Segment | null> = new Array<Segment | null>(RECENT).fill(null);

  /** The segment at an address (two int32 halves), or null. */
  find(hi: number, lo: number): Segment | null {
    const place = (lo >>> PAGE_BITS) & (RECENT - 1);
    const recent = this.#recent[place] as Segment | null;
    if (recent?.contains(hi, lo)) return recent;
    const address = (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0);
    let low = 0;
    let high = this.#segments.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if ((this.#firsts[middle] as number) <= address) low = middle + 1;
      else high = middle - 1;
    }
    const segment = high >= 0 ? (this.#segments[high] as Segment) : null;
    if (!segment?.contains(hi, lo)) return null;
    this.#recent[place] = segment;
    return segment;
  }

  /** Replace all regions. Returns those that others hide, whole or in part. */
  set(regions: readonly Region[]): Hidden[] {
    this.#recent.fill(null);
    const hidden: Hidden[] = [];
    this.#segments = cut(regions, hidden);
    this.#firsts = Float64Array.from(this.#segments, (segment) => segment.first);
    return hidden;
  }

  /** The addresses covered, as few disjoint intervals as possible, ascending. */
  intervals(): Interval[] {
    const merged: { first: number; last: number }[] = [];
    for (const { first, size } of this.#segments) {
      const before = merged.at(-1);
      if (before !== undefined && before.last + 1 === first) before.last = first + size - 1;
      else merged.push({ first, last: first + size - 1 });
    }
    return merged;
  }
}

/** Disjoint segments, ascending; where regions overlap, the earlier in the list has the bytes. */
function cut(regions: readonly Region[], hidden: Hidden[]): Segment[] {
  let free: Segment[] = [];
  const segments: Segment[] = [];
  for (const region of regions) {
    const all = { first: region.base, last: region.base + region.size - 1 };
    const parts = region.within === undefined ? [all] : intersection([all], region.within);
    free = parts.map(({ first, last }) => new Segment(first, last - first + 1, region));
    for (const taken of segments) {
      const apart = taken.first >= region.base + region.size || taken.first + taken.size <= region.base;
      if (apart) continue;
      const before = free.reduce((bytes, piece) => bytes + piece.size, 0);
      free = free.flatMap((piece) => subtract(piece, taken));
      const left = free.reduce((bytes, piece) => bytes + piece.size, 0);
      if (left < before) hidden.push({ region, by: taken.region, first: Math.max(taken.first, region.base) });
    }
    segments.push(...free);
  }
  return segments.sort((a, b) => a.first - b.first);
}

function subtract(piece: Segment, taken: Segment): Segment[] {
  const end = piece.first + piece.size;
  const takenEnd = taken.first + taken.size;
  if (takenEnd <= piece.first || taken.first >= end) return [piece];
  const left = taken.first - piece.first;
  const right = end - takenEnd;
  const pieces: Segment[] = [];
  if (left > 0) pieces.push(new Segment(piece.first, left, piece.region));
  if (right > 0) pieces.push(new Segment(takenEnd, right, piece.region));
  return pieces;
}

/** What `wanted` has and `present` has not. Both ascending and disjoint. */
export function difference(wanted: readonly Interval[], present: readonly Interval[]): Interval[] {
  let left: Interval[] = [...wanted];
  for (const { first, last } of present) {
    left = left.flatMap((piece) => {
      if (last < piece.first || first > piece.last) return [piece];
      const pieces: Interval[] = [];
      if (piece.first < first) pieces.push({ first: piece.first, last: first - 1 });
      if (piece.last > last) pieces.push({ first: last + 1, last: piece.last });
      return pieces;
    });
  }
  return left;
}

/** What both have. Both ascending and disjoint. */
export function intersection(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  return a.flatMap((one) =>
    b
      .filter(({ first, last }) => first <= one.last && last >= one.first)
      .map(({ first, last }) => ({ first: Math.max(first, one.first), last: Math.min(last, one.last) })),
  );
}
