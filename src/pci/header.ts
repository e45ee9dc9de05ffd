// SPDX-License-Identifier: MIT
/** Headers as rows: configuration space is a block of registers like any other. */

import { IoreqdError } from "../base/errors.js";
import { hex } from "../base/hex.js";
import type { BlockTable, RegisterRow, Row } from "../bus/table.js";
import { BAR, BRIDGE, COMMAND, CONFIG, MULTI_FUNCTION, STATUS, TYPE_1 } from "../spec/pci.js";
import { BRIDGE_BARS, bridgeRows } from "./bridge.js";
import { msixBarRows } from "./capabilities/interrupts.js";
import { type Capability, capabilityRows, configSize, type PlacedCapability, placeCapabilities } from "./capability.js";
import type { BarTable, BarTables, OptionValues, PciDevice } from "./define.js";

/** Addresses a guest may put in a memory BAR end below this: no x86 or Arm host has more. */
export const ADDRESS_LIMIT = 2 ** 52;

export function barsOf(device: PciDevice): Array<[index: number, bar: BarTable]> {
  const bars = (device.bars ?? {}) as BarTables;
  return Object.entries(bars)
    .map(([index, bar]): [number, BarTable] => [Number(index), bar as BarTable])
    .sort(([a], [b]) => a - b);
}

/** Base address registers of a type 0 header. */
const BARS = 6;

/** Where a function stands, as far as its tables say so. */
export interface Standing {
  readonly rootBus: boolean;
  readonly multiFunction: boolean;
}

/** All tables of a function, with what the framework adds to them. */
export interface FunctionTables {
  readonly config: BlockTable;
  readonly bars: ReadonlyArray<readonly [index: number, table: BarTable]>;
  readonly capabilities: readonly PlacedCapability[];
}

/** `romSize`: bytes of its expansion ROM, 0 for none. Throws TABLE_INVALID. Source: PCI 3.0 6.1, 6.2. */
export function functionTables(
  device: PciDevice,
  options: OptionValues,
  romSize: number,
  standing: Standing,
): FunctionTables {
  const declared = barsOf(device);
  checkBars(device, declared);
  const list = device.capabilities ?? [];
  const capabilities = typeof list === "function" ? list(options) : list;
  const regs = headerRows(device, declared, romSize, standing);
  for (const [name, row] of Object.entries(device.config ?? {})) {
    if (row.at < CONFIG.headerEnd) {
      throw invalid(device, `register ${name} at ${hex(row.at)} lies in the standard header`);
    }
    regs[name] = row;
  }
  const placed = placeCapabilities(device.name, capabilities, regs);
  const { first, rows } = capabilityRows(device.name, placed, standing);
  Object.assign(regs, rows);
  regs["CAP_POINTER"] = { at: CONFIG.capabilities, width: 1, reset: first };
  if (first !== 0) regs["STATUS"] = { ...(regs["STATUS"] as RegisterRow), reset: STATUS.capabilities };
  return {
    config: { size: configSize(capabilities), regs },
    bars: barsWithTables(device, declared, capabilities),
    capabilities: placed,
  };
}

/** MSI-X keeps its table and pending bits in BARs. */
function barsWithTables(
  device: PciDevice,
  bars: ReadonlyArray<readonly [number, BarTable]>,
  capabilities: readonly Capability[],
): Array<readonly [number, BarTable]> {
  const shape = capabilities.find(({ msix }) => msix !== undefined)?.msix;
  if (shape === undefined) return [...bars];
  for (const { bar } of [shape.table, shape.pba]) {
    const table = bars.find(([index]) => index === bar)?.[1];
    if (table === undefined || table.space === "io")
      throw invalid(device, `MSI-X wants BAR ${bar}, which is no memory BAR`);
  }
  return bars.map(([index, table]) => [index, { ...table, regs: { ...table.regs, ...msixBarRows(shape, index) } }]);
}

function headerRows(
  device: PciDevice,
  bars: ReadonlyArray<readonly [number, BarTable]>,
  romSize: number,
  { multiFunction }: Standing,
): Record<string, Row> {
  const { ident } = device;
  const bridge = device.bridge !== undefined;
  const commandBits =
    (bridge || bars.some(([, bar]) => bar.space === "io") ? COMMAND.io : 0) |
    (bridge || romSize > 0 || bars.some(([, bar]) => bar.space !== "io") ? COMMAND.memory : 0) |
    COMMAND.busMaster |
    COMMAND.parityResponse |
    COMMAND.serr |
    (device.intx === undefined ? 0 : COMMAND.intxDisable);
  const regs: Record<string, Row> = {
    VENDOR_ID: { at: CONFIG.vendor, width: 2, reset: ident.vendor },
    DEVICE_ID: { at: CONFIG.device, width: 2, reset: ident.device },
    COMMAND: { at: CONFIG.command, width: 2, rw: commandBits },
    STATUS: { at: CONFIG.status, width: 2, w1c: STATUS.errors },
    REVISION_ID: { at: CONFIG.revision, width: 1, reset: ident.revision ?? 0 },
    PROG_IF: { at: CONFIG.classCode, width: 1, reset: ident.classCode & 0xff },
    CLASS: { at: CONFIG.classCode + 1, width: 2, reset: (ident.classCode >>> 8) & 0xffff },
    CACHE_LINE_SIZE: { at: CONFIG.cacheLine, width: 1, rw: 0xff },
    LATENCY_TIMER: { at: CONFIG.latency, width: 1 },
    HEADER_TYPE: {
      at: CONFIG.headerType,
      width: 1,
      reset: (multiFunction ? MULTI_FUNCTION : 0) | (bridge ? TYPE_1 : 0),
    },
    BIST: { at: CONFIG.bist, width: 1 },
    INTERRUPT_LINE: { at: CONFIG.interruptLine, width: 1, rw: 0xff },
    INTERRUPT_PIN: {
      at: CONFIG.interruptPin,
      width: 1,
      reset: device.intx === undefined ? 0 : " ABCD".indexOf(device.intx),
    },
    ...(bridge ? bridgeRows : subsystemRows(device)),
  };
  for (const [index, bar] of bars) Object.assign(regs, barRows(index, bar));
  if (romSize > 0)
    regs["ROM"] = { at: bridge ? BRIDGE.rom : CONFIG.rom, width: 4, rw: (-romSize | BAR.romEnable) >>> 0 };
  return regs;
}

function subsystemRows({ ident }: PciDevice): Record<string, Row> {
  return {
    SUBSYSTEM_VENDOR_ID: { at: CONFIG.subsystemVendor, width: 2, reset: ident.subsystemVendor ?? 0 },
    SUBSYSTEM_ID: { at: CONFIG.subsystem, width: 2, reset: ident.subsystem ?? 0 },
  };
}

/** The low bits say what it is; the writable ones are the address, so writing ones reads back the size. */
function barRows(index: number, bar: BarTable): Record<string, RegisterRow> {
  const at = CONFIG.bar0 + index * 4;
  const writable = -bar.size >>> 0;
  if (bar.space === "io") return { [`BAR${index}`]: { at, reset: BAR.io, rw: (writable & ~3) >>> 0 } };
  const prefetchable = bar.prefetchable === true ? BAR.prefetchable : 0;
  if (bar.space === "mem32") return { [`BAR${index}`]: { at, reset: prefetchable, rw: (writable & ~15) >>> 0 } };
  return {
    [`BAR${index}`]: { at, reset: BAR.mem64 | prefetchable, rw: (writable & ~15) >>> 0 },
    [`BAR${index}_HIGH`]: { at: at + 4, rw: 0xffff_ffff },
  };
}

function checkBars(device: PciDevice, bars: ReadonlyArray<[number, BarTable]>): void {
  const taken = new Set<number>();
  const most = device.bridge === undefined ? BARS : BRIDGE_BARS;
  for (const [index, bar] of bars) {
    const slots = bar.space === "mem64" ? [index, index + 1] : [index];
    if (slots.some((slot) => !Number.isInteger(slot) || slot < 0 || slot >= most || taken.has(slot))) {
      throw invalid(device, `BAR ${index} (${bar.space}) does not fit: there are ${most}, and a mem64 takes two`);
    }
    for (const slot of slots) taken.add(slot);
    const [least, largest] = bar.space === "io" ? [4, 256] : [16, 2 ** 31];
    if (!Number.isInteger(Math.log2(bar.size)) || bar.size < least || bar.size > largest) {
      throw invalid(
        device,
        `BAR ${index} has ${bar.size} bytes; a power of two from ${least} to ${largest} is possible`,
      );
    }
  }
}

/** Where a BAR's registers put it, or null: not decoded there. Source: PCI 3.0 6.2.5.1. */
export function barAddress(bar: Pick<BarTable, "space" | "size">, low: number, high: number): number | null {
  if (bar.space === "io") {
    const port = (low & ~3) >>> 0;
    return port === 0 || port + bar.size > 0x1_0000 ? null : port;
  }
  const base = (high >>> 0) * 0x1_0000_0000 + ((low & ~15) >>> 0);
  // All ones is a guest asking for the size; a 32-bit BAR that ends at 4 GiB is the same.
  const limit = bar.space === "mem64" ? ADDRESS_LIMIT : 0xffff_ffff;
  const end = base + bar.size;
  return base === 0 || end === 0x1_0000_0000 || end > limit ? null : base;
}

function invalid(device: PciDevice, what: string): IoreqdError {
  return new IoreqdError("TABLE_INVALID", `${device.name}: ${what}`, { device: device.name });
}
