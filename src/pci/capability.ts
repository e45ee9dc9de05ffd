// SPDX-License-Identifier: MIT
/**
 * Capabilities: rows like all others, in blocks that are chained. A device
 * lists those it has; where each goes and how it points to the next is laid
 * out here.
 *
 * Source: PCI 3.0 6.7; extended ones PCI Express Base 3.0 7.9.
 */

import { IoreqdError } from "../base/errors.js";
import { hex } from "../base/hex.js";
import type { Register } from "../bus/register.js";
import { type Row, type Rows, rowLength } from "../bus/table.js";
import { CAPABILITY, CONFIG, CONFIG_SIZE, EXPRESS_CONFIG_SIZE } from "../spec/pci.js";

/** Where a function stands: some registers say so. */
export interface Place {
  /** On the root bus, not behind a bridge. */
  readonly rootBus: boolean;
}

/** What the code of a capability may use. */
export interface CapabilityContext {
  /** Its registers, by the names of its own table. */
  readonly registers: Readonly<Record<string, Register>>;
  /** Put the whole function back as after power-on. */
  reset(): void;
}

export interface Capability {
  /** In front of its registers' names: "MSI" makes MSI_CONTROL. One of a name in a function. */
  readonly name: string;
  /** 8 bits; 16 when it is extended. */
  readonly id: number;
  /** An extended one, at 0x100 and above, has a version: 1 to 15. */
  readonly version?: number;
  /** Bytes, its header included. */
  readonly length: number;
  /** Where it must be. Unless told, the first place where it fits. */
  readonly at?: number;
  /** Its registers behind the header; offsets count from the start of the capability. */
  readonly regs: Rows | ((place: Place) => Rows);
  /** Called once, when the function is made. */
  readonly attach?: (context: CapabilityContext) => void;
  /** What makes it more than registers. */
  readonly msi?: MsiShape;
  readonly msix?: MsixShape;
}

/** Message signalled interrupts. Source: PCI 3.0 6.8.1. */
export interface MsiShape {
  /** 1, 2, 4, 8, 16 or 32. */
  readonly vectors: number;
  /** Per-vector mask and pending bits. */
  readonly maskable: boolean;
  readonly address64: boolean;
}

/** Where a structure lies in a BAR. Bytes, a multiple of 8. */
export interface InBar {
  readonly bar: number;
  readonly at: number;
}

/** MSI-X. Source: PCI 3.0 6.8.2. */
export interface MsixShape {
  /** 1 to 2048. */
  readonly vectors: number;
  readonly table: InBar;
  readonly pba: InBar;
}

export interface PlacedCapability {
  readonly capability: Capability;
  readonly at: number;
}

/** Bytes of configuration space: extended where PCI Express makes it so. */
export function configSize(capabilities: readonly Capability[]): number {
  return capabilities.some(({ id, version }) => version === undefined && id === CAPABILITY.express)
    ? EXPRESS_CONFIG_SIZE
    : CONFIG_SIZE;
}

/** Give each a place. `taken`: rows that are there already. Throws TABLE_INVALID. */
export function placeCapabilities(where: string, capabilities: readonly Capability[], taken: Rows): PlacedCapability[] {
  check(where, capabilities);
  checkNames(where, capabilities, Object.keys(taken));
  const size = configSize(capabilities);
  const ranges = Object.values(taken).map((row) => ({ at: row.at, end: row.at + rowLength(row) }));
  const placed: PlacedCapability[] = [];
  const put = (capability: Capability, at: number): void => {
    placed.push({ capability, at });
    ranges.push({ at, end: at + capability.length });
  };
  for (const capability of capabilities) {
    if (capability.at !== undefined) put(capability, checkedPlace(where, capability, capability.at, size, ranges));
  }
  for (const capability of capabilities) {
    if (capability.at !== undefined) continue;
    const [from, to] = area(capability, size);
    let at = from;
    for (let clash = overlapping(ranges, at, capability.length); clash !== undefined; ) {
      at = (clash.end + 3) & ~3;
      clash = overlapping(ranges, at, capability.length);
    }
    if (at + capability.length > to) {
      throw invalid(where, `there is no room for the ${capability.length} bytes of capability ${capability.name}`);
    }
    put(capability, at);
  }
  // The chain follows the device's own order, but a first extended one must be at 0x100.
  return capabilities.map((capability) => placed.find((one) => one.capability === capability) as PlacedCapability);
}

/** The rows of all capabilities, headers included, named NAME_REGISTER; and where the chain begins (0: nowhere). */
export function capabilityRows(
  where: string,
  placed: readonly PlacedCapability[],
  place: Place,
): { first: number; rows: Record<string, Row> } {
  const rows: Record<string, Row> = {};
  const classic = placed.filter(({ capability }) => capability.version === undefined);
  const extended = placed.filter(({ capability }) => capability.version !== undefined).sort((a, b) => a.at - b.at);
  if (extended.length > 0 && extended[0]?.at !== CONFIG_SIZE) {
    throw invalid(where, `the first extended capability must be at ${hex(CONFIG_SIZE)}`);
  }
  for (const chain of [classic, extended]) {
    chain.forEach(({ capability, at }, index) => {
      const next = chain[index + 1]?.at ?? 0;
      Object.assign(rows, headerRows(capability, at, next));
      for (const [name, row] of Object.entries(registersAt(capability, place))) {
        const header = capability.version === undefined ? 2 : 4;
        if (row.at < header || row.at + rowLength(row) > capability.length) {
          throw invalid(
            where,
            `register ${name} of capability ${capability.name} lies outside its ${capability.length} bytes`,
          );
        }
        rows[`${capability.name}_${name}`] = { ...row, at: at + row.at };
      }
    });
  }
  return { first: classic[0]?.at ?? 0, rows };
}

export function registersAt(capability: Capability, place: Place): Rows {
  return typeof capability.regs === "function" ? capability.regs(place) : capability.regs;
}

function headerRows({ name, id, version }: Capability, at: number, next: number): Rows {
  if (version !== undefined) {
    return { [`${name}_HEADER`]: { at, width: 4, reset: ((next << 20) | (version << 16) | id) >>> 0 } };
  }
  return { [`${name}_ID`]: { at, width: 1, reset: id }, [`${name}_NEXT`]: { at: at + 1, width: 1, reset: next } };
}

interface Range {
  readonly at: number;
  readonly end: number;
}

const overlapping = (ranges: readonly Range[], at: number, length: number): Range | undefined =>
  ranges.find((range) => range.at < at + length && at < range.end);

function area(capability: Capability, size: number): [from: number, to: number] {
  return capability.version === undefined ? [CONFIG.headerEnd, CONFIG_SIZE] : [CONFIG_SIZE, size];
}

function checkedPlace(
  where: string,
  capability: Capability,
  at: number,
  size: number,
  ranges: readonly Range[],
): number {
  const [from, to] = area(capability, size);
  if (at % 4 !== 0 || at < from || at + capability.length > to) {
    throw invalid(
      where,
      `capability ${capability.name} at ${hex(at)} is not on a multiple of 4 from ${hex(from)} to ${hex(to)}`,
    );
  }
  if (overlapping(ranges, at, capability.length) !== undefined) {
    throw invalid(where, `capability ${capability.name} at ${hex(at)} overlaps another register or capability`);
  }
  return at;
}

function check(where: string, capabilities: readonly Capability[]): void {
  const size = configSize(capabilities);
  const names = new Set<string>();
  for (const { name, id, version } of capabilities) {
    if (names.has(name)) throw invalid(where, `capability ${name} is listed twice`);
    names.add(name);
    if (!Number.isInteger(id) || id < 0 || id > (version === undefined ? 0xff : 0xffff)) {
      throw invalid(where, `capability ${name} has the id ${id}`);
    }
    if (version !== undefined && size === CONFIG_SIZE) {
      throw invalid(where, `capability ${name} is extended, so the device needs a PCI Express capability too`);
    }
  }
}

/** Rows are known by their names: those of a capability begin with its own. */
function checkNames(where: string, capabilities: readonly Capability[], taken: readonly string[]): void {
  for (const { name } of capabilities) {
    const clash = taken.find((register) => register.startsWith(`${name}_`));
    if (clash === undefined) continue;
    throw invalid(where, `capability ${name} could not be told from register ${clash} by its name; give it another`);
  }
}

function invalid(where: string, what: string): IoreqdError {
  return new IoreqdError("TABLE_INVALID", `${where}: ${what}`, { where });
}
