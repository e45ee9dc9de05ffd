// SPDX-License-Identifier: MIT
/**
 * How long accesses took, counted in buckets that all threads can read while vCPUs write.
 *
 * Sixteen buckets for each power of two: a percentile is within 3 % of the true one.
 */

/** Kinds of access, in the order of their places in the memory. */
export const KINDS = [
  "pioRead",
  "pioWrite",
  "mmioRead",
  "mmioWrite",
  "configRead",
  "configWrite",
  "rep",
  "invalidate",
] as const;
export type AccessKind = (typeof KINDS)[number];

/** Indices of KINDS. */
export const KIND = {
  pioRead: 0,
  pioWrite: 1,
  mmioRead: 2,
  mmioWrite: 3,
  configRead: 4,
  configWrite: 5,
  rep: 6,
  invalidate: 7,
} as const;

/** Nanoseconds, from trap to return, of accesses that a device model answered. */
export interface RoundTripSummary {
  count: number;
  p50: number;
  p99: number;
  max: number;
}

/** Kinds that did not occur are left out; `all` is there when any did. */
export type RoundTrips = Partial<Record<AccessKind | "all", RoundTripSummary>>;

const SUB_BITS = 4;
const SUB = 1 << SUB_BITS;
/** The largest bucket is that of 2^32-1. */
const BUCKETS = (32 - SUB_BITS + 1) * SUB;
/** Words of one kind: the buckets, then the maximum. */
const WORDS = BUCKETS + 1;
const VCPU_BYTES = WORDS * KINDS.length * 4;

export function roundTripMemory(vcpus: number): SharedArrayBuffer {
  return new SharedArrayBuffer(VCPU_BYTES * vcpus);
}

function bucketOf(ns: number): number {
  if (ns < SUB) return ns;
  const exponent = 31 - Math.clz32(ns);
  return (exponent - SUB_BITS + 1) * SUB + ((ns >>> (exponent - SUB_BITS)) & (SUB - 1));
}

/** The middle of a bucket, in nanoseconds. */
function middleOf(bucket: number): number {
  if (bucket < SUB) return bucket;
  const step = 2 ** (Math.floor(bucket / SUB) - 1);
  return (SUB + (bucket % SUB)) * step + (step - 1) / 2;
}

/** The writing side: one vCPU's share of the memory. */
export class RoundTripRecorder {
  readonly #words: Uint32Array;

  constructor(memory: SharedArrayBuffer, vcpu: number) {
    this.#words = new Uint32Array(memory, vcpu * VCPU_BYTES, VCPU_BYTES / 4);
  }

  /** `kind`: an index of KINDS. `ns`: 0 to 2^32-1. */
  record(kind: number, ns: number): void {
    const words = this.#words;
    const base = kind * WORDS;
    const at = base + bucketOf(ns);
    words[at] = (words[at] as number) + 1;
    if (ns > (words[base + BUCKETS] as number)) words[base + BUCKETS] = ns;
  }

  /** Forget what was recorded: after a warm-up. */
  reset(): void {
    this.#words.fill(0);
  }

  summary(): RoundTrips {
    return summarize(this.#words);
  }
}

/** All vCPUs together. Taken while they run, it may miss the last few accesses. */
export function summarizeRoundTrips(memory: SharedArrayBuffer): RoundTrips {
  return summarize(new Uint32Array(memory));
}

function summarize(words: Uint32Array): RoundTrips {
  const all = new Float64Array(WORDS);
  const result: RoundTrips = {};
  KINDS.forEach((kind, index) => {
    const sum = new Float64Array(WORDS);
    for (let base = index * WORDS; base < words.length; base += WORDS * KINDS.length) {
      for (let i = 0; i < BUCKETS; i += 1) sum[i] = (sum[i] as number) + (words[base + i] as number);
      sum[BUCKETS] = Math.max(sum[BUCKETS] as number, words[base + BUCKETS] as number);
    }
    const summary = summaryOf(sum);
    if (summary.count === 0) return;
    result[kind] = summary;
    for (let i = 0; i < BUCKETS; i += 1) all[i] = (all[i] as number) + (sum[i] as number);
    all[BUCKETS] = Math.max(all[BUCKETS] as number, summary.max);
  });
  const total = summaryOf(all);
  if (total.count > 0) result.all = total;
  return result;
}

function summaryOf(sum: Float64Array): RoundTripSummary {
  const max = sum[BUCKETS] as number;
  let count = 0;
  for (let i = 0; i < BUCKETS; i += 1) count += sum[i] as number;
  const percentile = (part: number): number => {
    let left = Math.max(1, Math.ceil(count * part));
    for (let i = 0; i < BUCKETS; i += 1) {
      left -= sum[i] as number;
      if (left <= 0) return Math.min(middleOf(i), max);
    }
    return max;
  };
  return count === 0 ? { count, p50: 0, p99: 0, max } : { count, p50: percentile(0.5), p99: percentile(0.99), max };
}
