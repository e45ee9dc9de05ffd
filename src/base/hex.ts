// SPDX-License-Identifier: MIT

/** "0x1f": unsigned; a negative int32 is printed as the 32 bits it stands for. */
export function hex(value: number | bigint): string {
  if (typeof value === "bigint") return `0x${BigInt.asUintN(64, value).toString(16)}`;
  return `0x${(value < 0 ? value >>> 0 : value).toString(16)}`;
}

/** A 64-bit value given as two int32 halves. */
export function hex64(hi: number, lo: number): string {
  return hi === 0 ? hex(lo) : `0x${(hi >>> 0).toString(16)}${(lo >>> 0).toString(16).padStart(8, "0")}`;
}
