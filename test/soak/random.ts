// SPDX-License-Identifier: MIT
/** Numbers that look random, and come again for the same seed: xorshift32. Source: Marsaglia, "Xorshift RNGs", 2003. */

export class Random {
  #x: number;

  constructor(seed: number) {
    // Neighbouring seeds are spread; 0 would stay 0.
    this.#x = (Math.imul(seed | 0, 0x9e37_79b1) ^ 0x2545_f491) | 0 || 1;
    for (let i = 0; i < 8; i += 1) this.word();
  }

  /** 0 to 2^32-1, never 0. */
  word(): number {
    let x = this.#x;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#x = x;
    return x >>> 0;
  }

  /** 0 to `end`, without it. */
  fraction(end = 1): number {
    return (this.word() / 2 ** 32) * end;
  }

  /** A whole number from `first` to `last`, both possible. */
  between(first: number, last: number): number {
    return first + (this.word() % (last - first + 1));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.word() % list.length] as T;
  }
}
