// SPDX-License-Identifier: MIT
/**
 * What the hypervisor has been told: functions, ranges and lines that are ours
 * now. Each is brought in step with what is wanted, new before old, so that
 * what stays ours is never without an owner. What the hypervisor refuses is
 * told, and asked for again with the next change.
 */

import type { Sbdf } from "../base/ids.js";
import { difference, type Interval } from "../bus/address-map.js";
import type { Space } from "./decode.js";
import type { PciHost } from "./rights.js";
import type { EcamWindow } from "./windows.js";

export class Claims {
  readonly #host: PciHost;
  readonly #ranges: Record<Space, Interval[]> = { pio: [], mmio: [] };
  readonly #functions = new Set<Sbdf>();
  /** By segment. */
  readonly #windows = new Map<number, EcamWindow>();
  /** By root device * 4 + pin. */
  readonly #lines = new Map<number, boolean>();

  constructor(host: PciHost) {
    this.#host = host;
  }

  ranges(space: Space): readonly Interval[] {
    return this.#ranges[space];
  }

  /** Claim those that are not claimed yet. Throws what PciHost throws. */
  addFunctions(wanted: Iterable<Sbdf>): void {
    for (const sbdf of wanted) {
      if (this.#functions.has(sbdf)) continue;
      this.#host.mapFunction(sbdf);
      this.#functions.add(sbdf);
    }
  }

  syncFunctions(wanted: ReadonlySet<Sbdf>): void {
    const claimed = this.#functions;
    for (const sbdf of wanted) {
      if (!claimed.has(sbdf) && this.#attempt("claim a function", () => this.#host.mapFunction(sbdf)))
        claimed.add(sbdf);
    }
    for (const sbdf of [...claimed]) {
      if (wanted.has(sbdf)) continue;
      this.#attempt("give up a function", () => this.#host.unmapFunction(sbdf));
      claimed.delete(sbdf);
    }
  }

  syncRanges(space: Space, wanted: readonly Interval[]): void {
    const had = this.#ranges[space];
    const now = [...had];
    for (const { first, last } of difference(wanted, had)) {
      if (this.#attempt(`map ${space} range`, () => this.#host.mapRange(space, first, last))) now.push({ first, last });
    }
    const gone = difference(had, wanted);
    for (const { first, last } of gone) {
      this.#attempt(`unmap ${space} range`, () => this.#host.unmapRange(space, first, last));
    }
    this.#ranges[space] = difference(now, gone).sort((a, b) => a.first - b.first);
  }

  syncWindows(wanted: ReadonlyMap<number, EcamWindow>): void {
    for (const [segment, window] of wanted) {
      const told = this.#windows.get(segment);
      if (told?.base === window.base && told.buses === window.buses) continue;
      if (this.#attempt("map an ECAM window", () => this.#host.mapWindow(segment, window))) {
        this.#windows.set(segment, window);
      }
    }
    for (const segment of [...this.#windows.keys()]) {
      if (wanted.has(segment)) continue;
      this.#attempt("unmap an ECAM window", () => this.#host.unmapWindow(segment));
      this.#windows.delete(segment);
    }
  }

  syncLines(wanted: ReadonlyMap<number, boolean>): void {
    const lost = [...this.#lines].filter(([wire, asserted]) => asserted && !wanted.has(wire));
    for (const [wire, asserted] of [...wanted, ...lost.map(([wire]): [number, boolean] => [wire, false])]) {
      if ((this.#lines.get(wire) ?? false) === asserted) continue;
      if (this.#attempt("set interrupt line", () => this.#host.setIntx(wire >>> 2, wire & 3, asserted))) {
        this.#lines.set(wire, asserted);
      }
    }
  }

  #attempt(what: string, act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      this.#host.refused(what, error);
      return false;
    }
  }
}
