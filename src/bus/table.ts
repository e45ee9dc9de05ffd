// SPDX-License-Identifier: MIT
/**
 * A block of registers as a data sheet prints it, and the check that finds its
 * mistakes when the table is built.
 */

import { IoreqdError } from "../base/errors.js";
import { hex } from "../base/hex.js";

/** Bytes an access or a register may have. */
export type Width = 1 | 2 | 4 | 8;

export interface RegisterRow {
  /** Offset in bytes from the start of the block. */
  readonly at: number;
  /** Bytes; 4 unless told. A register of 8 is two halves of 4, low first. */
  readonly width?: Width;
  /** Value after reset; 0 unless told. */
  readonly reset?: number | bigint;
  /** Bits the guest may write. All others are read-only. */
  readonly rw?: number | bigint;
  /** Bits the guest clears by writing ones. */
  readonly w1c?: number | bigint;
  /** One line for `ioreqd explain`. */
  readonly doc?: string;
}

/** A run of bytes with one name, read (and, with rw, written) byte by byte. */
export interface BytesRow {
  readonly at: number;
  /** Length in bytes. */
  readonly bytes: number;
  /** Contents after reset: text (latin1, zero padded) or bytes. */
  readonly reset?: string | Uint8Array;
  /** True when the guest may write every byte. */
  readonly rw?: boolean;
  readonly doc?: string;
}

export type Row = RegisterRow | BytesRow;
export type Rows = Readonly<Record<string, Row>>;

export interface BlockTable {
  /** Bytes the block answers for. */
  readonly size: number;
  readonly regs?: Rows;
  /** What bytes without a register read as: "zeros" (unless told) or "ones". */
  readonly holes?: "zeros" | "ones";
  /**
   * Widths of access the block takes, by range: the last entry whose `from` is not above the
   * offset holds. Others read as all-ones and write nothing. All widths unless told.
   */
  readonly accepts?: ReadonlyArray<{ readonly from: number; readonly widths: readonly Width[] }>;
}

/** A row with everything filled in. 8-byte rows appear as two of 4 (`half` 0 and 1). */
export interface ResolvedRow {
  name: string;
  at: number;
  width: 1 | 2 | 4;
  half: 0 | 1 | null;
  /** Index within a run of bytes, or null for a register. */
  byte: number | null;
  reset: number;
  rw: number;
  w1c: number;
}

export function isBytes(row: Row): row is BytesRow {
  return "bytes" in row;
}

export function rowLength(row: Row): number {
  return isBytes(row) ? row.bytes : (row.width ?? 4);
}

/**
 * Check a table and flatten it into rows of 1, 2 or 4 bytes, in address order.
 * Throws TABLE_INVALID, naming the rows and the offset.
 */
export function resolveTable(where: string, table: BlockTable): ResolvedRow[] {
  const rows = Object.entries(table.regs ?? {}).flatMap(([name, row]) => resolveRow(where, table, name, row));
  rows.sort((a, b) => a.at - b.at);
  for (let i = 1; i < rows.length; i += 1) {
    const before = rows[i - 1] as ResolvedRow;
    const row = rows[i] as ResolvedRow;
    if (before.at + before.width > row.at) {
      throw invalid(where, `registers ${before.name} and ${row.name} overlap at ${hex(row.at)}`);
    }
  }
  return rows;
}

function resolveRow(where: string, table: BlockTable, name: string, row: Row): ResolvedRow[] {
  const length = rowLength(row);
  if (!Number.isInteger(row.at) || row.at < 0 || length < 1 || row.at + length > table.size) {
    throw invalid(
      where,
      `register ${name} at ${hex(row.at)} (${length} bytes) is outside the ${table.size}-byte block`,
    );
  }
  if (isBytes(row)) {
    const contents = typeof row.reset === "string" ? Buffer.from(row.reset, "latin1") : (row.reset ?? new Uint8Array());
    if (contents.length > row.bytes)
      throw invalid(where, `the reset contents of ${name} exceed its ${row.bytes} bytes`);
    return Array.from({ length: row.bytes }, (_, byte) => ({
      name,
      at: row.at + byte,
      width: 1 as const,
      half: null,
      byte,
      reset: contents[byte] ?? 0,
      rw: row.rw === true ? 0xff : 0,
      w1c: 0,
    }));
  }
  const width = row.width ?? 4;
  if (![1, 2, 4, 8].includes(width))
    throw invalid(where, `register ${name} is ${width} bytes wide; 1, 2, 4 or 8 are possible`);
  const masks = {
    reset: toBits(where, name, width, row.reset),
    rw: toBits(where, name, width, row.rw),
    w1c: toBits(where, name, width, row.w1c),
  };
  if ((masks.rw & masks.w1c) !== 0n) throw invalid(where, `register ${name} has bits in both rw and w1c`);
  const part = (half: 0 | 1 | null): ResolvedRow => ({
    name,
    at: row.at + (half === 1 ? 4 : 0),
    width: width === 8 ? 4 : width,
    half,
    byte: null,
    reset: word(masks.reset, half),
    rw: word(masks.rw, half),
    w1c: word(masks.w1c, half),
  });
  return width === 8 ? [part(0), part(1)] : [part(null)];
}

/** The low or high word of a mask, as int32. */
function word(bits: bigint, half: 0 | 1 | null): number {
  return Number(BigInt.asIntN(32, half === 1 ? bits >> 32n : bits));
}

function toBits(where: string, name: string, width: number, value: number | bigint | undefined): bigint {
  const bits = BigInt(value ?? 0);
  if (bits < 0n || bits >> BigInt(width * 8) !== 0n) {
    throw invalid(where, `register ${name} is ${width} bytes wide; ${hex(bits)} does not fit`);
  }
  return bits;
}

function invalid(where: string, what: string): IoreqdError {
  return new IoreqdError("TABLE_INVALID", `${where}: ${what}`, { where });
}
