// SPDX-License-Identifier: MIT
/**
 * Windows of a host bridge: guest memory through which the processor reaches
 * configuration space (ECAM, MMCONFIG) and ports (an aperture, where the
 * processor has no port instructions, as on Arm). What is behind them knows
 * nothing of it.
 *
 * Sources: PCI Express Base 3.0, 7.2.2; PCI Firmware 3.0, 4.1.
 */

import { IoreqdError } from "../base/errors.js";
import { formatRange, type Sbdf } from "../base/ids.js";
import { type AddressMap, type Description, type Interval, nobodyAt, type Target } from "../bus/address-map.js";
import { EXPRESS_CONFIG_SIZE } from "../spec/pci.js";
import type { PciFunction } from "./function.js";

const BUS_SIZE = 1 << 20;
const BUSES = 256;
/** Ports of a host bridge. */
const PORTS_SIZE = 0x1_0000;

/** An ECAM window: 1 MiB a bus, 4 KiB a function. */
export interface EcamWindow {
  /** Guest-physical address; a multiple of its length. */
  readonly base: number;
  readonly firstBus: number;
  /** A power of two, 1 to 256. */
  readonly buses: number;
  /**
   * "functions": only the pages of our functions are ours, so that other device models can share the window and Xen
   * answers for empty slots. "window": all of it, with all-ones for empty slots; on Arm, where an access that
   * nobody claims is a fault of the guest's.
   */
  readonly claim: "functions" | "window";
  /**
   * "native": accesses arrive as those to memory that they are. "translated": Xen is told of the window and makes
   * configuration requests of them, which the simulated Xen can and no real one. Native unless told.
   */
  readonly delivery?: "native" | "translated";
}

/** Ports of a host bridge as guest memory: port n at base + n. */
export interface Aperture {
  readonly base: number;
  /** Bytes, at most 65536. */
  readonly size: number;
}

/** A host bridge as the processor sees it. */
export interface HostWindows {
  readonly segment: number;
  /** Its root bus. */
  readonly bus: number;
  readonly ecam?: EcamWindow;
  readonly aperture?: Aperture;
}

/** Throws WINDOW_INVALID, naming the windows that can't be. */
export function checkWindows(hosts: readonly HostWindows[]): void {
  const windows = hosts.flatMap(({ segment, bus, ecam, aperture }) => {
    const name = `${segment.toString(16)}:${bus.toString(16)}`;
    if (ecam !== undefined) checkEcam(name, ecam);
    if (aperture !== undefined) checkAperture(name, aperture);
    return [
      ...(ecam === undefined ? [] : [{ name: `the ECAM window of ${name}`, ...intervalOf(ecam) }]),
      ...(aperture === undefined
        ? []
        : [{ name: `the I/O aperture of ${name}`, first: aperture.base, last: aperture.base + aperture.size - 1 }]),
    ];
  });
  const told = hosts.filter(({ ecam }) => ecam?.delivery === "translated").map(({ segment }) => segment);
  const twice = told.find((segment, index) => told.indexOf(segment) !== index);
  if (twice !== undefined) throw invalid(`segment ${twice} has two ECAM windows to be translated; Xen is told of one`);
  windows.forEach((one, index) => {
    const other = windows.slice(index + 1).find(({ first, last }) => first <= one.last && last >= one.first);
    if (other === undefined) return;
    throw invalid(
      `${one.name} (${formatRange(one.first, one.last)}) overlaps ${other.name} (${formatRange(other.first, other.last)})`,
    );
  });
}

function intervalOf({ base, buses }: Pick<EcamWindow, "base" | "buses">): Interval {
  return { first: base, last: base + buses * BUS_SIZE - 1 };
}

function checkEcam(name: string, { base, firstBus, buses }: EcamWindow): void {
  const length = buses * BUS_SIZE;
  if (!Number.isInteger(Math.log2(buses)) || buses > BUSES || firstBus < 0 || firstBus + buses > BUSES) {
    throw invalid(
      `the ECAM window of ${name} has ${buses} buses from ${firstBus} on; a power of two up to 256 is possible`,
    );
  }
  if (base % length !== 0 || base < 0)
    throw invalid(`the ECAM window of ${name} is at ${base}, no multiple of its length ${length}`);
}

function checkAperture(name: string, { base, size }: Aperture): void {
  if (size < 4096 || size > PORTS_SIZE || size % 4096 !== 0 || base % 4096 !== 0 || base < 0) {
    throw invalid(
      `the I/O aperture of ${name} is ${size} bytes at ${base}; whole pages, at most ${PORTS_SIZE} bytes, are possible`,
    );
  }
}

const invalid = (what: string): IoreqdError => new IoreqdError("WINDOW_INVALID", what, {});

/** Who answers at an SBDF now. */
export interface Functions {
  functionAt(at: Sbdf): PciFunction | undefined;
  nobody(): number;
}

export class Ecam implements Target {
  readonly #functions: Functions;
  readonly #first: number;

  /** `segment` and the window's first bus: where offset 0 is. */
  constructor(functions: Functions, segment: number, firstBus: number) {
    this.#functions = functions;
    this.#first = segment * 0x1_0000 + firstBus * 0x100;
  }

  read(offset: number, width: number): number {
    const at = offset % EXPRESS_CONFIG_SIZE;
    if (at + width <= EXPRESS_CONFIG_SIZE) return this.#at(offset)?.readConfig(at, width) ?? this.#functions.nobody();
    let value = 0;
    for (let i = 0; i < width; i += 1) value |= (this.read(offset + i, 1) & 0xff) << (i * 8);
    return value;
  }

  write(offset: number, width: number, value: number): void {
    const at = offset % EXPRESS_CONFIG_SIZE;
    if (at + width <= EXPRESS_CONFIG_SIZE) {
      const fn = this.#at(offset);
      if (fn === undefined) this.#functions.nobody();
      else fn.writeConfig(at, width, value);
      return;
    }
    for (let i = 0; i < width; i += 1) this.write(offset + i, 1, (value >>> (i * 8)) & 0xff);
  }

  /** 8 bytes are two accesses of 4, the low one first. */
  accepts(): boolean {
    return true;
  }

  nameAt(offset: number, width: number): string {
    return this.describe(offset, width).register;
  }

  describe(offset: number, width: number): Description {
    const fn = this.#at(offset);
    const at = offset % EXPRESS_CONFIG_SIZE;
    return fn === undefined ? nobodyAt(offset) : configDescription(fn, at, width);
  }

  /** Pages of these functions, as addresses. */
  pages(window: Pick<EcamWindow, "base" | "buses">, functions: readonly PciFunction[]): Interval[] {
    return functions
      .flatMap(({ sbdf }) => (sbdf === null ? [] : [sbdf - this.#first]))
      .filter((index) => index >= 0 && index < window.buses * 256)
      .sort((a, b) => a - b)
      .map((index) => {
        const first = window.base + index * EXPRESS_CONFIG_SIZE;
        return { first, last: first + EXPRESS_CONFIG_SIZE - 1 };
      });
  }

  #at(offset: number): PciFunction | undefined {
    return this.#functions.functionAt((this.#first + Math.floor(offset / EXPRESS_CONFIG_SIZE)) as Sbdf);
  }
}

export function configDescription(fn: PciFunction, at: number, width: number): Description {
  return { device: `${fn.label} config`, register: fn.config.nameAt(at, width), offset: at };
}

export class PortAperture implements Target {
  readonly #ports: AddressMap;
  readonly #nobody: () => number;

  constructor(ports: AddressMap, nobody: () => number) {
    this.#ports = ports;
    this.#nobody = nobody;
  }

  read(port: number, width: number): number {
    const segment = this.#ports.find(0, port);
    if (segment === null) return this.#nobody();
    if (segment.room(port) >= width) return segment.region.target.read(segment.offset(port), width);
    let value = 0;
    for (let i = 0; i < width; i += 1) value |= (this.read(port + i, 1) & 0xff) << (i * 8);
    return value;
  }

  write(port: number, width: number, value: number): void {
    const segment = this.#ports.find(0, port);
    if (segment === null) this.#nobody();
    else if (segment.room(port) >= width) segment.region.target.write(segment.offset(port), width, value);
    else for (let i = 0; i < width; i += 1) this.write(port + i, 1, (value >>> (i * 8)) & 0xff);
  }

  accepts(port: number, width: 1 | 2 | 4 | 8): boolean {
    const segment = this.#ports.find(0, port);
    return segment === null || segment.region.target.accepts(segment.offset(port), width);
  }

  nameAt(port: number, width: number): string {
    return this.describe(port, width).register;
  }

  describe(port: number, width: number): Description {
    const segment = this.#ports.find(0, port);
    if (segment === null) return nobodyAt(port);
    const offset = segment.offset(port);
    return { device: segment.region.label, register: segment.region.target.nameAt(offset, width), offset };
  }
}
