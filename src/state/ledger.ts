// SPDX-License-Identifier: MIT
/**
 * What the hypervisor was asked for on behalf of this server, kept beside the
 * registers: Xen has no call that lists a server's ranges, so a process that
 * takes over must read here what there is to unmap.
 *
 * An entry is written before Xen is asked and marked after it has answered, so
 * a process that dies in between leaves one that says: perhaps. In words: its
 * kind and how sure it is, then the two numbers that name it, each in halves.
 */

import { IoreqdError } from "../base/errors.js";
import { LEDGER_ENTRIES, LEDGER_ENTRY_WORDS, LEDGER_LINE_WORDS } from "./format.js";

const CLAIM_KINDS = ["function", "pio", "mmio", "window"] as const;
/** No claim reaches beyond: an SBDF's 32 bits, the ports, what physical addresses x86 has, a segment's 16 bits. */
const LAST = { function: 0xffff_ffff, pio: 0xffff, mmio: 2 ** 52 - 1, window: 0xffff } as const;
export type ClaimKind = (typeof CLAIM_KINDS)[number];

/** `held`: Xen has it. `asked` and `leaving`: a process died before it knew whether Xen has it, still or already. */
export type ClaimState = "held" | "asked" | "leaving";
const STATES: readonly ClaimState[] = ["held", "asked", "leaving"];

/** A function: `first` is its SBDF. A range: both ends inside. A window: `first` is its segment. */
export interface Claim {
  readonly kind: ClaimKind;
  readonly first: number;
  readonly last: number;
}

export type RecordedClaim = Claim & { readonly entry: number; readonly state: ClaimState };

const ENTRY = { head: 0, firstLo: 1, firstHi: 2, lastLo: 3, lastHi: 4 } as const;
const STATE_SHIFT = 8;

export class Ledger {
  readonly #i32: Int32Array;
  /** Index of the first word. */
  readonly #at: number;
  readonly #free: number[] = [];

  constructor(i32: Int32Array, byteOffset: number) {
    this.#i32 = i32;
    this.#at = byteOffset >>> 2;
    for (let entry = LEDGER_ENTRIES - 1; entry >= 0; entry -= 1) {
      if (this.#claim(entry) === null) this.#free.push(entry);
    }
  }

  /** All there are. What is no claim, in a damaged file, is left out: its entry is free. */
  claims(): RecordedClaim[] {
    const entries = Array.from({ length: LEDGER_ENTRIES }, (_, entry) => this.#claim(entry));
    return entries.filter((claim) => claim !== null);
  }

  #claim(entry: number): RecordedClaim | null {
    const head = this.#head(entry);
    const kind = CLAIM_KINDS[(head & 0xff) - 1];
    const state = STATES[head >>> STATE_SHIFT];
    if (kind === undefined || state === undefined) return null;
    const [first, last] = [this.#number(entry, ENTRY.firstLo), this.#number(entry, ENTRY.lastLo)];
    return first <= last && last <= LAST[kind] ? { kind, first, last, entry, state } : null;
  }

  /** Before Xen is asked for it. Returns the entry. Throws LEDGER_FULL. */
  ask({ kind, first, last }: Claim): number {
    const entry = this.#free.pop();
    if (entry === undefined) {
      throw new IoreqdError("LEDGER_FULL", `the state file has room for ${LEDGER_ENTRIES} claims, and all are taken`);
    }
    this.#put(entry, ENTRY.firstLo, first);
    this.#put(entry, ENTRY.lastLo, last);
    this.#mark(entry, kind, "asked");
    return entry;
  }

  /** Xen has it: now, or still. */
  hold(entry: number): void {
    this.#i32[this.#word(entry)] = this.#head(entry) & 0xff;
  }

  /** Before Xen is asked to let go of it. */
  leave(entry: number): void {
    this.#i32[this.#word(entry)] = (this.#head(entry) & 0xff) | (STATES.indexOf("leaving") << STATE_SHIFT);
  }

  /** Xen does not have it. */
  forget(entry: number): void {
    this.#i32[this.#word(entry)] = 0;
    this.#free.push(entry);
  }

  /** Interrupt lines that Xen may hold asserted: by root device * 4 + pin, 0 to 127. Set before Xen is told to assert one. */
  setLine(wire: number, asserted: boolean): void {
    const word = this.#at + (wire >>> 5);
    const bit = 1 << (wire & 31);
    const lines = this.#i32[word] as number;
    this.#i32[word] = asserted ? lines | bit : lines & ~bit;
  }

  lines(): number[] {
    const wires = Array.from({ length: LEDGER_LINE_WORDS * 32 }, (_, wire) => wire);
    return wires.filter((wire) => ((this.#i32[this.#at + (wire >>> 5)] as number) & (1 << (wire & 31))) !== 0);
  }

  #word(entry: number): number {
    return this.#at + (entry + 1) * LEDGER_ENTRY_WORDS;
  }

  #head(entry: number): number {
    return this.#i32[this.#word(entry)] as number;
  }

  #mark(entry: number, kind: ClaimKind, state: ClaimState): void {
    this.#i32[this.#word(entry)] = (CLAIM_KINDS.indexOf(kind) + 1) | (STATES.indexOf(state) << STATE_SHIFT);
  }

  #put(entry: number, at: number, value: number): void {
    this.#i32[this.#word(entry) + at] = value | 0;
    this.#i32[this.#word(entry) + at + 1] = Math.floor(value / 0x1_0000_0000) | 0;
  }

  #number(entry: number, at: number): number {
    const word = this.#word(entry) + at;
    return ((this.#i32[word + 1] as number) >>> 0) * 0x1_0000_0000 + ((this.#i32[word] as number) >>> 0);
  }
}
