// SPDX-License-Identifier: MIT
/** What a device holds in its hands: its registers, by the names of its table. */

import type { Arena } from "../state/arena.js";
import type { LateReadHandler, LateWriteHandler, ReadHandler, RegisterBlock, WriteHandler } from "./block.js";
import type { BytesRow, ResolvedRow, Rows } from "./table.js";

/** A register of 1, 2 or 4 bytes. `value` is int32 for width 4, unsigned below that. */
export class Register {
  readonly #block: RegisterBlock;
  readonly #row: number;
  readonly #arena: Arena;
  readonly #at: number;
  readonly #width: number;

  constructor(block: RegisterBlock, row: number) {
    this.#block = block;
    this.#row = row;
    this.#arena = block.arena;
    this.#at = block.placeOf(row);
    this.#width = (block.rows[row] as ResolvedRow).width;
  }

  get value(): number {
    return this.#arena.load(this.#at, this.#width);
  }

  set value(value: number) {
    this.#arena.store(this.#at, this.#width, value);
  }

  /** The guest reads: return what it sees. Runs once per access, also a narrow one. */
  onRead(handler: ReadHandler): void {
    this.#block.handleRead(this.#row, handler);
  }

  /** The guest wrote: the masks are applied already, `raw` is what it wrote. */
  onWrite(handler: WriteHandler): void {
    this.#block.handleWrite(this.#row, handler);
  }

  /**
   * The answer comes later: call `reply(value)` then. The vCPU waits meanwhile,
   * the others go on. After a restart the same access is presented again.
   */
  onReadLater(handler: LateReadHandler): void {
    this.#block.handleReadLate(this.#row, handler);
  }

  /** As onReadLater: the vCPU goes on once `done()` is called. */
  onWriteLater(handler: LateWriteHandler): void {
    this.#block.handleWriteLate(this.#row, handler);
  }
}

/** A register of 8 bytes: two halves. A handler runs after each half that is written. */
export class Register64 {
  readonly lo: Register;
  readonly hi: Register;

  constructor(lo: Register, hi: Register) {
    this.lo = lo;
    this.hi = hi;
  }

  get value(): bigint {
    return (BigInt(this.hi.value >>> 0) << 32n) | BigInt(this.lo.value >>> 0);
  }

  set value(value: bigint) {
    this.lo.value = Number(BigInt.asIntN(32, value));
    this.hi.value = Number(BigInt.asIntN(32, value >> 32n));
  }

  /** The value as a double: exact up to 2^53, which is past every guest-physical address. */
  get number(): number {
    return (this.hi.value >>> 0) * 0x1_0000_0000 + (this.lo.value >>> 0);
  }

  onWrite(handler: () => void): void {
    this.lo.onWrite(handler);
    this.hi.onWrite(handler);
  }
}

/** A run of bytes. */
export class BytesRegister {
  readonly length: number;
  readonly #block: RegisterBlock;
  readonly #first: number;

  constructor(block: RegisterBlock, first: number, length: number) {
    this.#block = block;
    this.#first = first;
    this.length = length;
  }

  get(index: number): number {
    return index >= 0 && index < this.length ? this.#block.load(this.#first + index) : 0;
  }

  set(index: number, value: number): void {
    if (index >= 0 && index < this.length) this.#block.store(this.#first + index, value);
  }

  /** The guest reads byte `index`: return what it sees. */
  onRead(handler: (index: number, stored: number) => number): void {
    for (let i = 0; i < this.length; i += 1) this.#block.handleRead(this.#first + i, (stored) => handler(i, stored));
  }

  onWrite(handler: (index: number, raw: number) => void): void {
    for (let i = 0; i < this.length; i += 1) this.#block.handleWrite(this.#first + i, (raw) => handler(i, raw));
  }
}

export type RegisterOf<R> = R extends { readonly bytes: number }
  ? BytesRegister
  : R extends { readonly width: 8 }
    ? Register64
    : Register;

/** The registers of a table, by name. */
export type RegistersOf<T> = T extends { readonly regs: infer R }
  ? { readonly [K in keyof R]: RegisterOf<R[K]> }
  : object;

/** Make the objects for a block. */
export function registersOf(block: RegisterBlock): Record<string, Register | Register64 | BytesRegister> {
  return Object.fromEntries(
    Object.entries((block.table.regs ?? {}) as Rows).map(([name, row]) => {
      const index = block.rowNamed(name);
      if ("bytes" in row) return [name, new BytesRegister(block, index, (row as BytesRow).bytes)];
      if (row.width !== 8) return [name, new Register(block, index)];
      return [name, new Register64(new Register(block, index), new Register(block, index + 1))];
    }),
  );
}
