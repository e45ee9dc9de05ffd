// SPDX-License-Identifier: MIT
/**
 * The tree of PCI functions: routes an access to a block of registers, and
 * tells the hypervisor what followed from it (functions, ranges, lines,
 * messages) once the access is committed.
 */

import { hex } from "../base/hex.js";
import type { Sbdf } from "../base/ids.js";
import { isShortage } from "../base/shortage.js";
import { Access } from "../bus/access.js";
import {
  AddressMap,
  type Description,
  type Interval,
  nobodyAt,
  type Region,
  type Segment,
} from "../bus/address-map.js";
import { TYPE } from "../spec/xen-ioreq.js";
import type { Arena } from "../state/arena.js";
import { Claims } from "./claims.js";
import type { Space } from "./decode.js";
import { Directory } from "./directory.js";
import { type Changes, PciFunction } from "./function.js";
import { HostRegions } from "./host-regions.js";
import { Notices } from "./notices.js";
import { number, wireOf } from "./numbering.js";
import type { FunctionPlan, TreePlan } from "./plan.js";
import type { DeviceRights, PciHost } from "./rights.js";
import { SecondTry } from "./second-try.js";
import { configDescription } from "./windows.js";

// The compiler knows a constant of this file; a property of one that is imported it looks up, in every access.
const { pciConfig: CONFIG, pio: PORT } = TYPE;
/** The last offset of configuration space where 8 bytes end before 2^32. */
const LAST_OFFSET_8 = 0xffff_fff8;

export class PciTree {
  /** In the order of their addresses, a bridge before what is behind it. */
  functions: readonly PciFunction[] = [];
  readonly access = new Access();
  readonly #directory = new Directory();
  /** Ports of the processor's own; a host bridge with an aperture has others, behind it. */
  readonly #ports = new AddressMap();
  readonly #memory = new AddressMap();
  readonly #windows: HostRegions;
  readonly #notices = new Notices();
  readonly #changes: Changes = { functions: true, decode: true, intx: true, messages: true };
  readonly #secondTry = new SecondTry(() => {
    this.#changed();
    this.flush();
  });
  readonly #arena: Arena;
  #hasTimers: readonly PciFunction[] = [];
  #hasMessages: readonly PciFunction[] = [];
  #host: PciHost | null = null;
  #claims: Claims | null = null;
  /** Accesses that nobody answered. */
  unclaimed = 0;

  constructor(plan: TreePlan, arena: Arena) {
    this.#arena = arena;
    this.#windows = new HostRegions(plan.hosts, {
      functionAt: (at) => this.functionAt(at),
      nobody: () => this.#nobody(),
    });
    for (const one of plan.functions) this.functions = [...this.functions, this.create(one)];
    this.set(this.functions);
  }

  /** A function that nobody can reach yet. For those that come later: see hotplug.ts. */
  create(plan: FunctionPlan): PciFunction {
    const parent = this.functions.find((fn) => fn.plan.path === plan.parent) ?? null;
    return new PciFunction(plan, parent, this.#arena, this.access, this.#changes);
  }

  /** From now on these are its functions, in their order. */
  set(functions: readonly PciFunction[]): void {
    this.functions = functions;
    for (const fn of functions) fn.checkIsolation();
    this.#hasTimers = functions.filter((fn) => (fn.plan.device.timers ?? []).length > 0 && !fn.state.quarantined);
    this.#hasMessages = functions.filter((fn) => fn.messages.present);
    this.#changed();
    this.#number();
  }

  /** Give every device its rights and run its code; then, for a new arena, reset it. */
  attach(rights: DeviceRights): void {
    for (const fn of this.functions) {
      this.#arena.goOnFor(fn.subject);
      fn.attach(rights);
    }
  }

  /** Power-on reset of everything. Within a transaction. */
  reset(): void {
    for (const fn of this.functions) fn.reset();
  }

  /** From now on `flush` tells this hypervisor. */
  connect(host: PciHost): void {
    this.#host = host;
    this.#claims = new Claims(host, this.#arena.ledger, this.#refused);
    this.#changed();
  }

  /** Before connect(): what the hypervisor has for the lines is not known, so each is told whatever it is. */
  doubtLines(): void {
    for (const fn of this.functions)
      if (fn.plan.device.intx !== undefined) this.#arena.ledger.setLine(wireOf(fn), true);
  }

  functionAt(at: Sbdf): PciFunction | undefined {
    return this.#directory.at(at);
  }

  // -- accesses. Addresses and values are int32 halves; width 1, 2 or 4; nothing is allocated -

  /** Read. Nobody there: all-ones. */
  read(type: number, hi: number, lo: number, width: number): number {
    if (type === CONFIG) {
      const fn = this.#directory.at(hi);
      return fn === undefined ? this.#nobody() : fn.readConfig(lo >>> 0, width);
    }
    const segment = this.#find(type, hi, lo);
    if (segment === null) return this.#nobody();
    if (segment.room(lo) >= width) return segment.region.target.read(segment.offset(lo), width);
    return this.#readBytes(type, hi, lo, width);
  }

  /** Write. Nobody there: nothing happens. */
  write(type: number, hi: number, lo: number, width: number, value: number): void {
    if (type === CONFIG) {
      const fn = this.#directory.at(hi);
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
    // Offsets of configuration space don't wrap around to its beginning.
    if (type === CONFIG) return lo >>> 0 <= LAST_OFFSET_8;
    const segment = this.#find(type, hi, lo);
    return segment === null || segment.region.target.accepts(segment.offset(lo), 8);
  }

  /** Names for logs. Allocates. */
  describe(type: number, hi: number, lo: number, width: number): Description {
    if (type === CONFIG) {
      const fn = this.#directory.at(hi);
      return fn === undefined ? nobodyAt(lo) : configDescription(fn, lo, width);
    }
    const segment = this.#find(type, hi, lo);
    if (segment === null) return nobodyAt(lo);
    const { target, label } = segment.region;
    const offset = segment.offset(lo);
    return target.describe?.(offset, width) ?? { device: label, register: target.nameAt(offset, width), offset };
  }

  /** Whose this access is, whether it can be reached now or not; null: nobody's. Allocates. */
  ownerOf(type: number, hi: number, lo: number): PciFunction | null {
    if (this.#changes.decode) this.#syncRanges();
    const { device } = this.describe(type, hi, lo, 1);
    return this.functions.find(({ label }) => device.startsWith(`${label} `)) ?? null;
  }

  #find(type: number, hi: number, lo: number): Segment | null {
    return type === PORT ? this.#ports.find(hi, lo) : this.#memory.find(hi, lo);
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
      value |= (this.read(type, carried(hi, lo, i), (lo + i) | 0, 1) & 0xff) << (i * 8);
    }
    this.access.position = position;
    return value;
  }

  #writeBytes(type: number, hi: number, lo: number, width: number, value: number): void {
    for (let i = 0; i < width; i += 1) {
      this.write(type, carried(hi, lo, i), (lo + i) | 0, 1, (value >>> (i * 8)) & 0xff);
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
   * Claim those of these functions that are not claimed yet. flush() would as well, and count what the hypervisor
   * refuses; this is for when somebody asked for the function and can be told. Throws what PciHost throws.
   */
  claimFunctions(functions: readonly PciFunction[] = this.functions): void {
    const free = functions.filter(({ plan }) => !plan.shadows);
    this.#claims?.addFunctions(addressesOf(functions), addressesOf(free));
  }

  /** Ranges claimed with the hypervisor now. */
  claimed(space: Space): readonly Interval[] {
    return this.#claims?.ranges(space) ?? [];
  }

  /** Let go of the process's timers. */
  detach(): void {
    this.#secondTry.stop();
    for (const fn of this.functions) fn.timers.detach();
  }

  #changed(): void {
    for (const what of ["functions", "decode", "intx", "messages"] as const) this.#changes[what] = true;
  }

  readonly #refused = (what: string, error: unknown): void => {
    this.#host?.refused(what, error);
    if (isShortage(error)) this.#secondTry.later();
  };

  #syncFunctions(): void {
    this.#changes.functions = false;
    this.#number();
    this.#changes.decode = true;
    this.#claims?.syncFunctions(new Set(this.#directory.addresses()));
  }

  /** Give every function the number that the bridges above say. */
  #number(): void {
    const lost = number(this.functions).map(({ label }) => label);
    this.#notices.tell("buses", lost, (bridge) => {
      this.#host?.noticed("bridge with bus numbers that are another's, or outside of the bridge above", { bridge });
    });
    this.#directory.set(this.functions);
  }

  /**
   * Xen holds the union of what is decoded: overlapping BARs are one range there, and which one answers is
   * settled here. Windows of a host bridge come first, then the lowest function, then the lowest BAR.
   */
  #syncRanges(): void {
    this.#changes.decode = false;
    const apertures = this.#windows.apertureOf.bind(this.#windows);
    const ports = this.functions.filter((fn) => apertures(fn) === null);
    const hidden = [
      ...this.#windows.syncPorts(this.functions),
      ...this.#ports.set(ports.flatMap((fn): Region[] => fn.regions("pio"))),
      ...this.#memory.set([
        ...this.#windows.regions(this.functions),
        ...this.functions.flatMap((fn): Region[] => fn.regions("mmio")),
      ]),
    ];
    const pairs = hidden.map(({ region, by, first }) => `${region.label} by ${by.label} at ${hex(first)}`);
    this.#notices.tell("overlaps", pairs, (overlap) => this.#host?.noticed("address range hidden", { overlap }));
    this.#claims?.syncWindows(this.#windows.translated(this.functions));
    this.#claims?.syncRanges("pio", this.#ports.intervals());
    this.#claims?.syncRanges("mmio", this.#memory.intervals());
  }

  /** Functions whose pins end on the same wire share it. */
  #syncLines(): void {
    this.#changes.intx = false;
    const wanted = new Map<number, boolean>();
    for (const fn of this.functions) {
      if (fn.plan.device.intx === undefined) continue;
      const wire = wireOf(fn);
      wanted.set(wire, (wanted.get(wire) ?? false) || fn.intxAsserted);
    }
    this.#claims?.syncLines(wanted);
  }

  #sendMessages(): void {
    this.#changes.messages = false;
    if (this.#host === null) return;
    for (let i = 0; i < this.#hasMessages.length; i += 1) (this.#hasMessages[i] as PciFunction).deliver(this.#send);
  }

  /** One for which something is short waits. One that is refused otherwise is lost, as where nobody is at the address. */
  readonly #send = (hi: number, lo: number, data: number): boolean => {
    try {
      this.#host?.sendMessage(hi, lo, data);
    } catch (error) {
      this.#refused("send a message-signalled interrupt", error);
      return !isShortage(error);
    }
    return true;
  };
}

const addressesOf = (functions: readonly PciFunction[]): Sbdf[] => functions.flatMap(({ sbdf }) => sbdf ?? []);

/** High half of the address `bytes` further on. */
const carried = (hi: number, lo: number, bytes: number): number =>
  (lo >>> 0) + bytes > 0xffff_ffff ? (hi + 1) | 0 : hi;
