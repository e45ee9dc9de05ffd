// SPDX-License-Identifier: MIT
/**
 * A hypervisor that keeps the books as Xen does, and takes nothing that Xen would refuse: ranges that overlap one that is
 * there, what is taken back and was never given. It can be told to refuse what Xen would take, for Xen may.
 *
 * Source: Xen common/ioreq.c, ioreq_server_map_io_range() and its opposite.
 */

import { formatRange, formatSbdf, type Sbdf } from "../src/base/ids.js";
import { difference, type Interval } from "../src/bus/address-map.js";
import type { Space } from "../src/pci/decode.js";
import type { PciHost } from "../src/pci/rights.js";
import { FuzzFailure, must } from "./failure.js";

/** What it was told to refuse. */
export class Refused extends Error {}

/** MAX_NR_IO_RANGES. Source: Xen include/xen/ioreq.h. */
const MOST_RANGES = 256;

export class CheckedHost implements PciHost {
  readonly ranges: Record<Space, Interval[]> = { pio: [], mmio: [] };
  readonly functions = new Set<Sbdf>();
  readonly windows = new Set<number>();
  /** By root device * 4 + pin: those that are up. */
  readonly lines = new Set<number>();
  /** How many of the next calls are refused. */
  refusals = 0;
  /** Something was refused: the books may lack what is wanted. */
  refusedAny = false;
  /** What Xen would refuse is refused, and no mistake: it follows from a ledger that something has written into. */
  lenient = false;
  /** Calls of any kind. */
  calls = 0;
  messages = 0;
  readonly #event: (what: string) => void;
  readonly #touch: () => void;

  /** `event`: something for the log. `touch`: called in each call, before it does anything. */
  constructor(event: (what: string) => void, touch: () => void) {
    this.#event = event;
    this.#touch = touch;
  }

  /** The books as they are with another: the same hypervisor, whose server changes hands. */
  inherit(other: CheckedHost): void {
    this.ranges.pio = [...other.ranges.pio];
    this.ranges.mmio = [...other.ranges.mmio];
    for (const sbdf of other.functions) this.functions.add(sbdf);
    for (const segment of other.windows) this.windows.add(segment);
    for (const line of other.lines) this.lines.add(line);
    this.refusedAny = other.refusedAny;
  }

  /** Nobody else has any. */
  refuseTaken(): void {}

  mapFunction(sbdf: Sbdf): void {
    this.#begin();
    this.#books(!this.functions.has(sbdf), () => `function ${formatSbdf(sbdf)} is claimed twice`);
    this.functions.add(sbdf);
  }

  unmapFunction(sbdf: Sbdf): void {
    this.#books(this.functions.delete(sbdf), () => `function ${formatSbdf(sbdf)} is given up and was not claimed`);
    this.#count();
  }

  mapRange(space: Space, first: number, last: number): void {
    this.#begin();
    const what = (): string => `${space} range ${formatRange(first, last)}`;
    must(
      Number.isSafeInteger(first) && Number.isSafeInteger(last) && first >= 0 && first <= last,
      () => `no ${what()}`,
    );
    must(space === "mmio" || last <= 0xffff, () => `${what()} is beyond the ports`);
    const overlaps = this.ranges[space].some((range) => first <= range.last && last >= range.first);
    this.#books(!overlaps, () => `${what()} is mapped where one is already`);
    if (this.ranges[space].length === MOST_RANGES) this.#refuse();
    this.ranges[space] = joined([...this.ranges[space], { first, last }]);
  }

  unmapRange(space: Space, first: number, last: number): void {
    const inside = this.ranges[space].some((range) => first >= range.first && last <= range.last);
    this.#books(inside, () => `${space} range ${formatRange(first, last)} is unmapped and was not mapped`);
    this.#count();
    this.ranges[space] = difference(this.ranges[space], [{ first, last }]);
  }

  mapWindow(segment: number, window: { readonly base: number; readonly buses: number }): void {
    this.#begin();
    must(window.base % (window.buses << 20) === 0, () => `window ${segment} at ${window.base} is not aligned`);
    this.windows.add(segment);
  }

  unmapWindow(segment: number): void {
    this.#books(this.windows.delete(segment), () => `window ${segment} is taken back and was not told of`);
    this.#count();
  }

  setIntx(device: number, pin: number, asserted: boolean): void {
    this.#begin();
    must(device >= 0 && device < 32 && pin >= 0 && pin < 4, () => `no line ${device}.${pin}`);
    const line = device * 4 + pin;
    if (asserted) this.lines.add(line);
    else this.lines.delete(line);
  }

  sendMessage(hi: number, lo: number, data: number): void {
    this.#begin();
    must(
      [hi, lo, data].every((word) => word === (word | 0)),
      () => `message ${hi} ${lo} ${data} is no int32`,
    );
    this.messages += 1;
  }

  noticed(what: string): void {
    this.#event(what);
  }

  /** Only what was refused on purpose: everything else is a mistake of the tree's. */
  refused(what: string, error: unknown): void {
    if (!(error instanceof Refused)) throw error;
    this.#event(`refused to ${what}`);
  }

  #books(keep: boolean, what: () => string): void {
    if (this.lenient && !keep) this.#refuse();
    must(keep, what);
  }

  #begin(): void {
    this.#count();
    if (this.refusals === 0) return;
    this.refusals -= 1;
    this.#refuse();
  }

  #count(): void {
    this.calls += 1;
    this.#touch();
  }

  #refuse(): never {
    this.refusedAny = true;
    throw new Refused("refused");
  }
}

/** Ascending, and what touches is one. */
export function joined(ranges: readonly Interval[]): Interval[] {
  const all: { first: number; last: number }[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const before = all.at(-1);
    if (before !== undefined && first <= before.last + 1) before.last = Math.max(before.last, last);
    else all.push({ first, last });
  }
  return all;
}

/** Whether an error says that something did not hold, and not that something was refused. */
export const isFailure = (error: unknown): error is FuzzFailure => error instanceof FuzzFailure;
