// SPDX-License-Identifier: MIT
/**
 * An input: a string of bytes, taken from front to back. Whatever the bytes are, they mean something, so a mutation
 * of an input is an input.
 */

export class Bytes {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Nothing is left; what is taken from here on is 0. */
  get ended(): boolean {
    return this.#at >= this.#bytes.length;
  }

  u8(): number {
    const byte = this.#bytes[this.#at] ?? 0;
    this.#at += 1;
    return byte;
  }

  u16(): number {
    return this.u8() | (this.u8() << 8);
  }

  /** Unsigned. */
  u32(): number {
    return (this.u16() | (this.u16() << 16)) >>> 0;
  }

  u64(): bigint {
    return BigInt(this.u32()) | (BigInt(this.u32()) << 32n);
  }

  /** 0 to `count` - 1, of at most 256. */
  below(count: number): number {
    return count === 0 ? 0 : this.u8() % count;
  }

  /** One of these, which may not be empty. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  take(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.u8());
  }
}
