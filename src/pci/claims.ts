// SPDX-License-Identifier: MIT
/**
 * What the hypervisor has been told: functions, ranges, windows and lines that
 * are ours now. Each is brought in step with what is wanted, new before old, so
 * that what stays ours is never without an owner. What the hypervisor refuses
 * is told, and asked for again with the next sync.
 *
 * It stands in the arena's ledger, too: a process that takes over knows from
 * there what the hypervisor has, and where the one before died while asking it
 * asks again.
 */

import { hasCode, hasErrno } from "../base/errors.js";
import type { Sbdf } from "../base/ids.js";
import { isShortage } from "../base/shortage.js";
import { difference, type Interval } from "../bus/address-map.js";
import type { Claim, Ledger, RecordedClaim } from "../state/ledger.js";
import type { Space } from "./decode.js";
import type { PciHost } from "./rights.js";
import type { EcamWindow } from "./windows.js";

/** Something that the hypervisor has, and its entry in the ledger. */
type Held<T> = T & { readonly entry: number };

export class Claims {
  readonly #host: PciHost;
  readonly #ledger: Ledger;
  readonly #refused: (what: string, error: unknown) => void;
  readonly #ranges: Record<Space, Held<Interval>[]> = { pio: [], mmio: [] };
  /** Entry by function. */
  readonly #functions = new Map<Sbdf, number>();
  /** By segment; null for one that a process before this one told: told again, wherever it is now. */
  readonly #windows = new Map<number, { window: EcamWindow | null; entry: number }>();
  /** By root device * 4 + pin; null for one that a process before this one may have asserted. */
  readonly #lines = new Map<number, boolean | null>();

  /**
   * Goes on from what the ledger says. Where that is uncertain the hypervisor is asked: throws what PciHost throws when
   * something is short. `refused` is told what the hypervisor refuses.
   */
  constructor(host: PciHost, ledger: Ledger, refused: (what: string, error: unknown) => void) {
    this.#host = host;
    this.#ledger = ledger;
    this.#refused = refused;
    for (const claim of this.#apart(ledger.claims())) if (this.#isHeld(claim)) this.#remember(claim, claim.entry);
    for (const wire of ledger.lines()) this.#lines.set(wire, null);
  }

  ranges(space: Space): readonly Interval[] {
    return this.#ranges[space].map(({ first, last }) => ({ first, last })).sort((a, b) => a.first - b.first);
  }

  /**
   * Claim those that are not claimed yet. `free`: those of them that no other device model may have. Throws what PciHost
   * throws, LEDGER_FULL.
   */
  addFunctions(wanted: readonly Sbdf[], free: readonly Sbdf[]): void {
    const added = wanted.filter((sbdf) => !this.#functions.has(sbdf));
    const asked = added.filter((sbdf) => free.includes(sbdf));
    this.#host.refuseTaken(asked);
    for (const sbdf of added) this.#map(functionClaim(sbdf));
    // Of two that start at the same time each may find nothing before it claims, but not after.
    this.#host.refuseTaken(asked);
  }

  syncFunctions(wanted: ReadonlySet<Sbdf>): void {
    for (const sbdf of wanted) {
      if (!this.#functions.has(sbdf)) this.#attempt("claim a function", () => this.#map(functionClaim(sbdf)));
    }
    for (const [sbdf, entry] of [...this.#functions]) {
      if (wanted.has(sbdf)) continue;
      this.#attempt("give up a function", () => this.#unmap({ ...functionClaim(sbdf), entry }));
    }
  }

  syncRanges(space: Space, wanted: readonly Interval[]): void {
    const had = this.#ranges[space];
    for (const { first, last } of difference(wanted, had)) {
      this.#attempt(`map ${space} range`, () => this.#map({ kind: space, first, last }));
    }
    for (const { first, last } of difference(had, wanted)) this.#cutOut(space, first, last);
  }

  syncWindows(wanted: ReadonlyMap<number, EcamWindow>): void {
    for (const [segment, window] of wanted) {
      const told = this.#windows.get(segment);
      if (told?.window?.base === window.base && told.window.buses === window.buses) continue;
      this.#attempt("map an ECAM window", () => {
        const entry = told?.entry ?? this.#ledger.ask({ kind: "window", first: segment, last: segment });
        this.#told(entry, () => this.#host.mapWindow(segment, window), told === undefined);
        this.#windows.set(segment, { window, entry });
      });
    }
    for (const [segment, { entry }] of [...this.#windows]) {
      if (wanted.has(segment)) continue;
      this.#attempt("unmap an ECAM window", () =>
        this.#unmap({ kind: "window", first: segment, last: segment, entry }),
      );
    }
  }

  syncLines(wanted: ReadonlyMap<number, boolean>): void {
    for (const [wire, asserted] of wanted) this.#setLine(wire, asserted);
    for (const wire of [...this.#lines.keys()]) if (!wanted.has(wire)) this.#setLine(wire, false);
  }

  #setLine(wire: number, asserted: boolean): void {
    const told = this.#lines.get(wire) ?? (this.#lines.has(wire) ? null : false);
    if (told === asserted) return;
    const done = this.#attempt("set interrupt line", () => {
      if (asserted) this.#ledger.setLine(wire, true);
      this.#host.setIntx(wire >>> 2, wire & 3, asserted);
      if (!asserted) this.#ledger.setLine(wire, false);
    });
    if (done) this.#lines.set(wire, asserted);
  }

  // -- each change stands in the ledger before the hypervisor is asked, and again after ----------

  #map(claim: Claim): void {
    const entry = this.#ledger.ask(claim);
    this.#told(entry, () => this.#ask(claim), true);
    this.#remember(claim, entry);
  }

  /** What Xen refuses it does not have. */
  #told(entry: number, tell: () => void, isNew: boolean): void {
    try {
      tell();
    } catch (error) {
      if (isNew) this.#ledger.forget(entry);
      throw error;
    }
    this.#ledger.hold(entry);
  }

  /** Refused or not, it is not counted as ours from then on; but where something is short it stays, for the next sync. */
  #unmap(claim: Held<Claim>): void {
    this.#ledger.leave(claim.entry);
    try {
      this.#giveUp(claim);
    } catch (error) {
      if (isShortage(error)) this.#ledger.hold(claim.entry);
      else this.#forget(claim);
      throw error;
    }
    this.#forget(claim);
  }

  /** Take a part of what is claimed away: the whole of a claim, or it is replaced by the claims of what is left. */
  #cutOut(space: Space, first: number, last: number): void {
    const held = this.#ranges[space];
    for (const claim of [...held].filter((one) => one.first <= last && one.last >= first)) {
      const part = { first: Math.max(first, claim.first), last: Math.min(last, claim.last) };
      this.#attempt(`unmap ${space} range`, () => {
        const parts = [part, ...difference([claim], [part])];
        const entries = parts.length === 1 ? [claim.entry] : this.#split({ kind: space, ...claim }, parts);
        const split = parts.map((each, i) => ({ ...each, entry: entries[i] as number }));
        held.splice(held.indexOf(claim), 1, ...split);
        this.#unmap({ kind: space, ...part, entry: entries[0] as number });
      });
    }
  }

  /**
   * One entry becomes several. That of the whole goes last: whatever happens in between, all of it stands there. Throws
   * LEDGER_FULL, and the whole stays.
   */
  #split(claim: Held<Claim>, parts: readonly Interval[]): number[] {
    const entries: number[] = [];
    try {
      for (const part of parts) {
        const entry = this.#ledger.ask({ ...part, kind: claim.kind });
        entries.push(entry);
        this.#ledger.hold(entry);
      }
    } catch (error) {
      for (const entry of entries) this.#ledger.forget(entry);
      throw error;
    }
    this.#ledger.forget(claim.entry);
    return entries;
  }

  #remember({ kind, first, last }: Claim, entry: number): void {
    if (kind === "function") this.#functions.set(first as Sbdf, entry);
    else if (kind === "window") this.#windows.set(first, { window: null, entry });
    else this.#ranges[kind].push({ first, last, entry });
  }

  #forget({ kind, first, entry }: Held<Claim>): void {
    this.#ledger.forget(entry);
    if (kind === "function") this.#functions.delete(first as Sbdf);
    else if (kind === "window") this.#windows.delete(first);
    else {
      const ranges = this.#ranges[kind];
      const at = ranges.findIndex((held) => held.entry === entry);
      if (at >= 0) ranges.splice(at, 1);
    }
  }

  /**
   * No two of the same: a process that died as it split a claim left the whole and some of its parts, of which the whole
   * stays. Where they overlap otherwise something has written into the file, and only one is believed.
   */
  #apart(claims: readonly RecordedClaim[]): RecordedClaim[] {
    const last = new Map<string, number>();
    const inOrder = claims.toSorted((a, b) => a.first - b.first || b.last - a.last);
    return inOrder.filter(({ kind, first, last: end, entry }) => {
      const isApart = first > (last.get(kind) ?? -1);
      if (isApart) last.set(kind, end);
      else this.#ledger.forget(entry);
      return isApart;
    });
  }

  /** Does the hypervisor have what a process before this one wrote down? Where it died while asking, it is asked again. */
  #isHeld(claim: RecordedClaim): boolean {
    const { state, kind, entry } = claim;
    if (state === "held") return true;
    if (state === "leaving") {
      this.#settle("let go of what a process before this one was letting go of", () => this.#unmap(claim), isGone);
      return false;
    }
    // A window is told again in any case. Of the others exactly this was asked for: who has it already is this server.
    const asked = kind === "window" || this.#settle("claim again", () => this.#ask(claim), isTaken);
    if (asked) this.#ledger.hold(entry);
    else this.#ledger.forget(entry);
    return asked;
  }

  #ask({ kind, first, last }: Claim): void {
    if (kind === "function") this.#host.mapFunction(first as Sbdf);
    else if (kind !== "window") this.#host.mapRange(kind, first, last);
  }

  #giveUp({ kind, first, last }: Claim): void {
    if (kind === "function") this.#host.unmapFunction(first as Sbdf);
    else if (kind === "window") this.#host.unmapWindow(first);
    else this.#host.unmapRange(kind, first, last);
  }

  #attempt(what: string, act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      this.#refused(what, error);
      return false;
    }
  }

  /** `expected`: an error that says that it is so already. Where something is short nothing is settled, and it throws. */
  #settle(what: string, act: () => void, expected: (error: unknown) => boolean): boolean {
    try {
      act();
      return true;
    } catch (error) {
      if (expected(error)) return true;
      if (isShortage(error)) throw error;
      this.#refused(what, error);
      return false;
    }
  }
}

const isTaken = (error: unknown): boolean => hasCode(error, "XEN_RANGE_TAKEN");
const isGone = (error: unknown): boolean => hasErrno(error, "ENOENT");
const functionClaim = (sbdf: Sbdf): Claim => ({ kind: "function", first: sbdf, last: sbdf });
