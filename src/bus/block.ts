// SPDX-License-Identifier: MIT
/**
 * A block of registers in the arena, and the one place that says what an
 * access does:
 *
 *  - exactly one register: its read handler gives the value, or it is stored
 *    under the masks and its write handler runs;
 *  - narrower than the register: a read takes the bytes out of the whole
 *    register (its handler runs once); a write changes only the bytes written,
 *    and the handler gets zeroes in the others and a mask that says which;
 *  - wider, or across registers and holes: each register touched is accessed
 *    once, in address order, as above; holes read as the table says;
 *  - 8 bytes: two accesses of 4, low half first;
 *  - a width the table doesn't accept there, or beyond the block: all-ones,
 *    and nothing is written.
 *
 * Values are int32 for width 4 and unsigned below that (see docs/architecture.md).
 */

import { IoreqdError } from "../base/errors.js";
import type { Arena } from "../state/arena.js";
import type { Access, Reply } from "./access.js";
import { type BlockTable, type ResolvedRow, resolveTable, type Width } from "./table.js";

/** Gets what is stored; returns what the guest sees. */
export type ReadHandler = (stored: number) => number;
/** Gets the bits written, a mask of the bytes written, and what was stored before. */
export type WriteHandler = (raw: number, mask: number, before: number) => void;
export type LateReadHandler = (reply: Reply, stored: number) => void;
export type LateWriteHandler = (raw: number, done: () => void, mask: number) => void;

/** Ones in the low `width` bytes. */
export const widthMask = (width: number): number => (width >= 4 ? -1 : (1 << (width * 8)) - 1);

const NO_ROW = -1;

export class RegisterBlock {
  readonly table: BlockTable;
  readonly rows: readonly ResolvedRow[];
  /** Byte offset of the block in the arena's file. */
  readonly base: number;
  /** Bytes from the start of the block to the end of its last register. */
  readonly span: number;

  readonly arena: Arena;
  readonly #access: Access;
  /** The first row of each register. */
  readonly #named = new Map<string, number>();
  readonly #hole: number;
  /** Row that covers this byte, and the same for rows an access may hit exactly. */
  readonly #rowAt: Int32Array;
  readonly #exact: Int32Array;
  readonly #width: Uint8Array;
  readonly #rw: Int32Array;
  readonly #w1c: Int32Array;
  readonly #onRead: Array<ReadHandler | null>;
  readonly #onWrite: Array<WriteHandler | null>;
  readonly #onReadLate: Array<LateReadHandler | null>;
  readonly #onWriteLate: Array<LateWriteHandler | null>;
  /** Called once after a whole access that wrote something, whatever its width. */
  afterWrite: (() => void) | null = null;

  /** `at` is the offset of the block in the arena's data area. Throws TABLE_INVALID. */
  constructor(where: string, table: BlockTable, arena: Arena, at: number, access: Access) {
    this.table = table;
    this.rows = resolveTable(where, table);
    this.base = arena.dataAt + at;
    this.span = blockSpan(this.rows);
    this.arena = arena;
    this.#access = access;
    this.#hole = table.holes === "ones" ? -1 : 0;
    this.#rowAt = new Int32Array(this.span).fill(NO_ROW);
    this.#exact = new Int32Array(this.span).fill(NO_ROW);
    this.#width = Uint8Array.from(this.rows, (row) => row.width);
    this.#rw = Int32Array.from(this.rows, (row) => row.rw);
    this.#w1c = Int32Array.from(this.rows, (row) => row.w1c);
    this.#onRead = this.rows.map(() => null);
    this.#onWrite = this.rows.map(() => null);
    this.#onReadLate = this.rows.map(() => null);
    this.#onWriteLate = this.rows.map(() => null);
    this.rows.forEach((row, index) => {
      if (!this.#named.has(row.name)) this.#named.set(row.name, index);
      this.#rowAt.fill(index, row.at, row.at + row.width);
      if (this.accepts(row.at, row.width)) this.#exact[row.at] = index;
    });
  }

  /** Put every register at its reset value. Within a transaction. */
  reset(): void {
    for (const row of this.rows) this.arena.store(this.base + row.at, row.width, row.reset);
  }

  /** Does the table take an access of this width here? */
  accepts(offset: number, width: Width): boolean {
    let widths: readonly Width[] | null = null;
    for (const rule of this.table.accepts ?? []) if (rule.from <= offset) widths = rule.widths;
    return widths === null || widths.includes(width);
  }

  /** Read `width` (1, 2, 4) bytes at `offset`. Allocates nothing when one register is hit exactly. */
  read(offset: number, width: number): number {
    if (offset < this.span) {
      const row = this.#exact[offset] as number;
      if (row >= 0 && this.#width[row] === width) {
        const stored = this.arena.load(this.base + offset, width);
        const handler = this.#onRead[row] as ReadHandler | null;
        return handler === null ? stored : handler(stored);
      }
    }
    return this.accepts(offset, width as Width) ? this.#readParts(offset, width) : widthMask(width);
  }

  /** Write the low `width` (1, 2, 4) bytes of `value` at `offset`. */
  write(offset: number, width: number, value: number): void {
    if (offset < this.span) {
      const row = this.#exact[offset] as number;
      if (row >= 0 && this.#width[row] === width) {
        this.#writeRow(row, offset, value & widthMask(width), widthMask(width));
        if (this.afterWrite !== null) this.afterWrite();
        return;
      }
    }
    if (!this.accepts(offset, width as Width)) return;
    this.#writeParts(offset, width, value);
    if (this.afterWrite !== null) this.afterWrite();
  }

  /** Names of what an access touches, for logs: "STATUS", "STATUS+2", "A,B", or "" for a hole. */
  nameAt(offset: number, width: number): string {
    const names: string[] = [];
    for (let at = offset; at < offset + width && at < this.span; ) {
      const row = this.rows[this.#rowAt[at] ?? NO_ROW];
      if (row === undefined) {
        at += 1;
        continue;
      }
      const skipped = at - row.at + (row.byte ?? 0) + (row.half === 1 ? 4 : 0);
      const name = skipped > 0 ? `${row.name}+${skipped}` : row.name;
      if (row.byte === null || names.length === 0) names.push(name);
      at = row.at + row.width;
    }
    return names.join(",");
  }

  // -- for the register objects of src/bus/register.ts ---------------------------------------

  /** Byte offset of a row in the arena's file. */
  placeOf(row: number): number {
    return this.base + (this.rows[row] as ResolvedRow).at;
  }

  /** Byte offset of a register in the arena's file. Throws TABLE_INVALID where there is none. */
  placeNamed(name: string): number {
    return this.placeOf(this.rowNamed(name));
  }

  /** Its first row: the low half of one of 8 bytes, whose high half is the next. Throws TABLE_INVALID. */
  rowNamed(name: string): number {
    const row = this.#named.get(name);
    if (row === undefined) throw new IoreqdError("TABLE_INVALID", `there is no register ${name}`, {});
    return row;
  }

  load(row: number): number {
    return this.arena.load(this.placeOf(row), this.#width[row] as number);
  }

  store(row: number, value: number): void {
    this.arena.store(this.placeOf(row), this.#width[row] as number, value);
  }

  handleRead(row: number, handler: ReadHandler): void {
    this.#onRead[row] = handler;
  }

  handleWrite(row: number, handler: WriteHandler): void {
    this.#onWrite[row] = handler;
  }

  handleReadLate(row: number, handler: LateReadHandler): void {
    this.#onReadLate[row] = handler;
    this.#exact[(this.rows[row] as ResolvedRow).at] = NO_ROW; // off the fast path
  }

  handleWriteLate(row: number, handler: LateWriteHandler): void {
    this.#onWriteLate[row] = handler;
    this.#exact[(this.rows[row] as ResolvedRow).at] = NO_ROW;
  }

  // -- the slow path: one register at a time, in address order -------------------------------

  #readParts(offset: number, width: number): number {
    let value = 0;
    for (let at = offset; at < offset + width; ) {
      const index = at < this.span ? (this.#rowAt[at] as number) : NO_ROW;
      if (index === NO_ROW) {
        value |= (this.#hole & 0xff) << ((at - offset) * 8);
        at += 1;
        continue;
      }
      const row = this.rows[index] as ResolvedRow;
      const from = at - row.at;
      const taken = Math.min(row.at + row.width, offset + width) - at;
      const mask = widthMask(taken) << (from * 8);
      const bits = ((this.#readRow(index, (at - offset - from) * 8, mask) & mask) >>> (from * 8)) & widthMask(taken);
      value |= bits << ((at - offset) * 8);
      at += taken;
    }
    return value;
  }

  #readRow(index: number, shift: number, mask: number): number {
    const stored = this.load(index);
    const late = this.#onReadLate[index] as LateReadHandler | null;
    if (late !== null) {
      late(this.#access.later(shift, mask, this), stored);
      return 0;
    }
    const handler = this.#onRead[index] as ReadHandler | null;
    return handler === null ? stored : handler(stored);
  }

  #writeParts(offset: number, width: number, value: number): void {
    for (let at = offset; at < offset + width; ) {
      const index = at < this.span ? (this.#rowAt[at] as number) : NO_ROW;
      if (index === NO_ROW) {
        at += 1;
        continue;
      }
      const row = this.rows[index] as ResolvedRow;
      const from = at - row.at;
      const taken = Math.min(row.at + row.width, offset + width) - at;
      const mask = widthMask(taken) << (from * 8);
      const raw = ((value >>> ((at - offset) * 8)) << (from * 8)) & mask;
      this.#writeRow(index, row.at, raw, mask);
      at += taken;
    }
  }

  #writeRow(index: number, at: number, raw: number, mask: number): void {
    const width = this.#width[index] as number;
    const before = this.arena.load(this.base + at, width);
    const rw = (this.#rw[index] as number) & mask;
    const after = ((before & ~rw) | (raw & rw)) & ~(raw & (this.#w1c[index] as number));
    if (after !== before) this.arena.store(this.base + at, width, after);
    const handler = this.#onWrite[index] as WriteHandler | null;
    if (handler !== null) handler(raw, mask, before);
    const late = this.#onWriteLate[index] as LateWriteHandler | null;
    if (late !== null) {
      const reply = this.#access.later(0, 0, this);
      late(raw, () => reply(0), mask);
    }
  }
}

/** Bytes a block needs in the arena. */
export function blockSpan(rows: readonly ResolvedRow[]): number {
  return rows.reduce((end, row) => Math.max(end, row.at + row.width), 0);
}
