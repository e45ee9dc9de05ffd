// SPDX-License-Identifier: MIT
/**
 * The tree of PCI functions: routes an access to a block of registers, and
 * tells the hypervisor what followed from it (functions, ranges, lines,
 * messages) once the access is committed.
 *
 * Bridges and ECAM will route here too.
 */

import { deviceOf, type Sbdf } from "../base/ids.js";
import { Access } from "../bus/access.js";
import { AddressMap, difference, type Interval, type Region, type Segment } from "../bus/address-map.js";
import { TYPE } from "../spec/xen-ioreq.js";
import type { Arena } from "../state/arena.js";
import { type Changes, PciFunction } from "./function.js";
import type { TreePlan } from "./plan.js";
import type { DeviceRights, PciHost } from "./rights.js";

const SPACES = ["pio", "mmio"] as const;
type Space = (typeof SPACES)[number];

/** Which device and register an access concerns, for logs. */
export interface Description {
  /** "0000:00:10.0 edu bar0", "0000:00:10.0 edu config", or "" where nobody is. */
  device: string;
  register: string;
  offset: number;
}

export class PciTree {
  readonly functions: readonly PciFunction[];
  readonly access = new Access();
  readonly #bySbdf = new Map<number, PciFunction>();
  readonly #ports = new AddressMap();
  readonly #memory = new AddressMap();
  readonly #claimed: Record<Space, Interval[]> = { pio: [], mmio: [] };
  readonly #claimedFunctions = new Set<Sbdf>();
  readonly #lines = new Map<number, boolean>();
  readonly #changes: Changes = { functions: true, decode: true, intx: true, messages: true };
  readonly #hasTimers: readonly PciFunction[];
  readonly #hasMessages: readonly PciFunction[];
  #host: PciHost | null = null;
  /** Accesses that nobody answered. */
  unclaimed = 0;

  constructor(plan: TreePlan, arena: Arena) {
    this.functions = plan.functions.map((fn) => new PciFunction(fn, arena, this.access, this.#changes));
    for (const fn of this.functions) this.#bySbdf.set(fn.sbdf, fn);
    this.#hasTimers = this.functions.filter((fn) => (fn.plan.device.timers ?? []).length > 0);
    this.#hasMessages = this.functions.filter((fn) => fn.messages.present);
  }

  /** Give every device its rights and run its code; then, for a new arena, reset it. */
  attach(rights: DeviceRights): void {
    for (const fn of this.functions) fn.attach(rights);
  }

  /** Power-on reset of everything. Within a transaction. */
  reset(): void {
    for (const fn of this.functions) fn.reset();
  }

  /** From now on `flush` tells this hypervisor. */
  connect(host: PciHost): void {
    this.#host = host;
    this.#changes.functions = true;
    this.#changes.decode = true;
    this.#changes.intx = true;
    this.#changes.messages = true;
  }

  functionAt(at: Sbdf): PciFunction | undefined {
    return this.#bySbdf.get(at);
  }

  // -- accesses. Addresses and values are int32 halves; width 1, 2 or 4; nothing is allocated -

  /** Read. Nobody there: all-ones. */
  read(type: number, hi: number, lo: number, width: number): number {
    if (type === TYPE.pciConfig) {
      const fn = this.#bySbdf.get(hi >>> 0);
      return fn === undefined ? this.#nobody() : fn.readConfig(lo >>> 0, width);
    }
    const segment = this.#find(type, hi, lo);
    if (segment === null) return this.#nobody();
    if (segment.room(lo) >= width) return segment.region.target.read(segment.offset(lo), width);
    return this.#readBytes(type, hi, lo, width);
  }

  /** Write. Nobody there: nothing happens. */
  write(type: number, hi: number, lo: number, width: number, value: number): void {
    if (type === TYPE.pciConfig) {
      const fn = this.#bySbdf.get(hi >>> 0);
      if (fn === undefined) this.#nobody();
      else fn.writeConfig(lo >>> 0, width, value);
      return;
    }
    const segment = this.#find(type, hi, lo);
    if (segment === null) this.#nobody();
    else if (segment.room(lo) >= width) segment.region.target.write(segment.offset(lo), width, value);
    else this.#writeBytes(type, hi, lo, width, value);
  }

  /** May an 8-byte access here be made as two of 4? A table can refuse that width. */
  accepts8(type: number, hi: number, lo: number): boolean {
    if (type === TYPE.pciConfig) return true;
    const segment = this.#find(type, hi, lo);
    return segment === null || segment.region.target.accepts(segment.offset(lo), 8);
  }

  /** Names for logs. Allocates. */
  describe(type: number, hi: number, lo: number, width: number): Description {
    if (type === TYPE.pciConfig) {
      const fn = this.#bySbdf.get(hi >>> 0);
      if (fn === undefined) return { device: "", register: "", offset: lo };
      return { device: `${fn.label} config`, register: fn.config.nameAt(lo, width), offset: lo };
    }
    const segment = this.#find(type, hi, lo);
    if (segment === null) return { device: "", register: "", offset: lo };
    const offset = segment.offset(lo);
    return { device: segment.region.label, register: segment.region.target.nameAt(offset, width), offset };
  }

  #find(type: number, hi: number, lo: number): Segment | null {
    return type === TYPE.pio ? this.#ports.find(hi, lo) : this.#memory.find(hi, lo);
  }

  #nobody(): number {
    this.unclaimed += 1;
    return -1;
  }

  /** Across the end of a region: byte by byte, each to whoever is there. */
  #readBytes(type: number, hi: number, lo: number, width: number): number {
    const position = this.access.position;
    let value = 0;
    for (let i = 0; i < width; i += 1) {
      this.access.position = position + i;
      value |= (this.read(type, hi, (lo + i) | 0, 1) & 0xff) << (i * 8);
    }
    this.access.position = position;
    return value;
  }

  #writeBytes(type: number, hi: number, lo: number, width: number, value: number): void {
    for (let i = 0; i < width; i += 1) {
      this.write(type, hi, (lo + i) | 0, 1, (value >>> (i * 8)) & 0xff);
    }
  }

  // -- what follows from a committed access ---------------------------------------------------

  /** Bring functions, ranges, lines, messages and timers in step with the arena. Cheap when nothing changed. */
  flush(): void {
    if (this.#changes.functions) this.#syncFunctions();
    if (this.#changes.decode) this.#syncRanges();
    if (this.#changes.intx) this.#syncLines();
    if (this.#changes.messages) this.#sendMessages();
    for (let i = 0; i < this.#hasTimers.length; i += 1) (this.#hasTimers[i] as PciFunction).timers.sync();
  }

  /**
   * Claim every function that is not claimed yet. flush() would as well, and count what the hypervisor
   * refuses; this is for when somebody asked for the function and can be told. Throws what PciHost throws.
   */
  claimFunctions(): void {
    const host = this.#host;
    if (host === null) return;
    for (const { sbdf } of this.functions) {
      if (this.#claimedFunctions.has(sbdf)) continue;
      host.mapFunction(sbdf);
      this.#claimedFunctions.add(sbdf);
    }
  }

  /** Ranges claimed with the hypervisor now. */
  claimed(space: Space): readonly Interval[] {
    return this.#claimed[space];
  }

  /** Let go of the process's timers. */
  detach(): void {
    for (const fn of this.functions) fn.timers.detach();
  }

  /** As with ranges: what is new first, then what is gone. */
  #syncFunctions(): void {
    this.#changes.functions = false;
    const host = this.#host;
    if (host === null) return;
    const claimed = this.#claimedFunctions;
    const wanted = new Set(this.functions.map(({ sbdf }) => sbdf));
    for (const sbdf of wanted) {
      if (!claimed.has(sbdf) && this.#attempt("claim a function", () => host.mapFunction(sbdf))) claimed.add(sbdf);
    }
    for (const sbdf of [...claimed]) {
      if (wanted.has(sbdf)) continue;
      this.#attempt("give up a function", () => host.unmapFunction(sbdf));
      claimed.delete(sbdf);
    }
  }

  /**
   * New ranges are mapped before old ones are unmapped, so an address that stays
   * decoded is never without an owner. Xen holds the union: overlapping BARs are
   * one range there, and which one answers is settled here (lowest address of
   * function, then of BAR).
   */
  #syncRanges(): void {
    this.#changes.decode = false;
    for (const space of SPACES) {
      const regions = this.functions.flatMap((fn): Region[] => fn.regions(space));
      const map = space === "pio" ? this.#ports : this.#memory;
      map.set(regions);
      const host = this.#host;
      if (host === null) continue;
      const wanted = map.intervals();
      const had = this.#claimed[space];
      const now = [...had];
      for (const { first, last } of difference(wanted, had)) {
        if (this.#attempt(`map ${space} range`, () => host.mapRange(space, first, last))) now.push({ first, last });
      }
      const gone = difference(had, wanted);
      for (const { first, last } of gone)
        this.#attempt(`unmap ${space} range`, () => host.unmapRange(space, first, last));
      this.#claimed[space] = difference(now, gone).sort((a, b) => a.first - b.first);
    }
  }

  /** Functions of a device that share a pin share its wire. */
  #syncLines(): void {
    this.#changes.intx = false;
    const host = this.#host;
    if (host === null) return;
    const wanted = new Map<number, boolean>();
    for (const fn of this.functions) {
      if (fn.plan.device.intx === undefined) continue;
      const wire = deviceOf(fn.sbdf) * 4 + "ABCD".indexOf(fn.plan.device.intx);
      wanted.set(wire, (wanted.get(wire) ?? false) || fn.intxAsserted);
    }
    for (const [wire, asserted] of wanted) {
      if ((this.#lines.get(wire) ?? false) === asserted) continue;
      if (this.#attempt("set interrupt line", () => host.setIntx(wire >>> 2, wire & 3, asserted))) {
        this.#lines.set(wire, asserted);
      }
    }
  }

  #sendMessages(): void {
    this.#changes.messages = false;
    if (this.#host === null) return;
    for (let i = 0; i < this.#hasMessages.length; i += 1) (this.#hasMessages[i] as PciFunction).deliver(this.#send);
  }

  /** One that the hypervisor refuses is lost, as on a bus where nobody is at the address. */
  readonly #send = (hi: number, lo: number, data: number): void => {
    try {
      this.#host?.sendMessage(hi, lo, data);
    } catch (error) {
      this.#host?.refused("send a message-signalled interrupt", error);
    }
  };

  #attempt(what: string, act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      this.#host?.refused(what, error);
      return false;
    }
  }
}
