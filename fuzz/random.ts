// SPDX-License-Identifier: MIT
/** Numbers that are the same for the same seed. Source of the generator: Steele, Lea, Flood, "SplitMix", OOPSLA 2014, in 32 bits. */

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** Unsigned, 32 bits. */
  u32(): number {
    this.#state = (this.#state + 0x9e37_79b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x85eb_ca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2_ae35);
    return (z ^ (z >>> 16)) >>> 0;
  }

  /** 0 to `count` - 1. */
  below(count: number): number {
    return this.u32() % count;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.u32());
  }
}
