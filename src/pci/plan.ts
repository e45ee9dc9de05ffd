// SPDX-License-Identifier: MIT
/** From a list of devices to places in the arena: done before anything is created, so mistakes cost nothing. */

import { IoreqdError } from "../base/errors.js";
import { busOf, formatSbdf, functionOf, type Sbdf, segmentOf } from "../base/ids.js";
import { blockSpan } from "../bus/block.js";
import { type BlockTable, isBytes, resolveTable, rowLength } from "../bus/table.js";
import { placeFields } from "../state/fields.js";
import { type DeviceDescription, LayoutBuilder, type PlaceDescription } from "../state/layout.js";
import type { OptionValues, PciDevice } from "./define.js";
import { type FunctionTables, functionTables, type Standing } from "./header.js";
import { MESSAGE_STATE_BYTES } from "./messages.js";
import { romSize } from "./rom.js";
import { placeTimers } from "./timers.js";

/** A device as the operator asked for it. */
export interface DeviceRequest {
  readonly device: PciDevice;
  readonly sbdf: Sbdf;
  readonly options: OptionValues;
  /** Contents of a ROM file that replaces the device's own. */
  readonly rom?: Uint8Array;
}

/** A function with its tables complete and its places given. Offsets in the arena's data area. */
export interface FunctionPlan {
  readonly sbdf: Sbdf;
  readonly device: PciDevice;
  readonly options: OptionValues;
  readonly standing: Standing;
  readonly tables: FunctionTables;
  readonly rom: Uint8Array;
  readonly romSize: number;
  readonly at: {
    readonly config: number;
    readonly bars: Readonly<Record<number, number>>;
    readonly state: number;
    readonly timers: number;
    readonly intx: number;
    /** See MESSAGE_STATE_BYTES. */
    readonly messages: number;
  };
}

export interface TreePlan {
  readonly functions: readonly FunctionPlan[];
  /** Bytes of the data area. */
  readonly dataLength: number;
  /** JSON of ArenaLayout. */
  readonly layout: string;
}

/** Throws TABLE_INVALID, or SLOT_TAKEN / NO_FUNCTION_0 where the addresses don't make a bus. */
export function planTree(requests: readonly DeviceRequest[]): TreePlan {
  checkAddresses(requests);
  const builder = new LayoutBuilder();
  const functions = [...requests]
    .sort((a, b) => a.sbdf - b.sbdf)
    .map((request) => planFunction(builder, request, isMultiFunction(requests, request.sbdf)));
  return { functions, dataLength: builder.length, layout: builder.toJSON() };
}

function planFunction(builder: LayoutBuilder, request: DeviceRequest, multiFunction: boolean): FunctionPlan {
  const { device, sbdf, options } = request;
  const rom = request.rom ?? device.rom ?? new Uint8Array();
  const standing: Standing = { rootBus: true, multiFunction };
  const tables = functionTables(device, options, romSize(rom.length), standing);
  const entry = builder.device(formatSbdf(sbdf), device.name);
  const at = {
    config: placeBlock(builder, entry, "config", tables.config),
    bars: Object.fromEntries(
      tables.bars.map(([index, bar]) => [index, placeBlock(builder, entry, `bar${index}`, bar)]),
    ),
    state: placeGroup(builder, entry, "state", placeFields(device.state ?? {})),
    timers: placeGroup(builder, entry, "timers", placeTimers(device.timers ?? [])),
    intx: placeGroup(builder, entry, "intx", {
      places: [{ name: "level", at: 0, width: 4, kind: "number" }],
      length: 4,
    }),
    messages: placeGroup(builder, entry, "messages", {
      places: [{ name: "pending", at: 0, width: 4, kind: "number" }],
      length: MESSAGE_STATE_BYTES,
    }),
  };
  return { sbdf, device, options, standing, tables, rom, romSize: romSize(rom.length), at };
}

function placeGroup(
  builder: LayoutBuilder,
  entry: DeviceDescription,
  name: string,
  group: { places: readonly PlaceDescription[]; length: number },
): number {
  return builder.group(entry, name, group.length, group.places);
}

function placeBlock(builder: LayoutBuilder, entry: DeviceDescription, name: string, table: BlockTable): number {
  const rows = resolveTable(`${entry.device} ${name}`, table);
  const places = Object.entries(table.regs ?? {}).map(
    ([register, row]): PlaceDescription => ({
      name: register,
      at: row.at,
      width: rowLength(row),
      kind: isBytes(row) ? "bytes" : "register",
    }),
  );
  return builder.group(entry, name, blockSpan(rows), places);
}

/** Function 0 must exist where any other does: a guest that finds none looks no further. Source: PCI 3.0 3.2.2.3.4. */
function checkAddresses(requests: readonly DeviceRequest[]): void {
  for (const { sbdf, device } of requests) {
    if (segmentOf(sbdf) === 0 && busOf(sbdf) === 0) continue;
    throw new IoreqdError(
      "BUS_UNKNOWN",
      `${device.name} is to be at ${formatSbdf(sbdf)}; there is only bus 0 of segment 0, so give addr=device.function`,
      { sbdf: formatSbdf(sbdf) },
    );
  }
  const taken = new Map<number, string>();
  for (const { sbdf, device } of requests) {
    const other = taken.get(sbdf);
    if (other !== undefined) {
      throw new IoreqdError(
        "SLOT_TAKEN",
        `${device.name} is to be at ${formatSbdf(sbdf)}, where ${other} is already; give one of them another addr=`,
        { sbdf: formatSbdf(sbdf) },
      );
    }
    taken.set(sbdf, device.name);
  }
  for (const { sbdf, device } of requests) {
    if (functionOf(sbdf) !== 0 && !taken.has(sbdf & ~7)) {
      throw new IoreqdError(
        "NO_FUNCTION_0",
        `${device.name} is function ${functionOf(sbdf)} of a device without function 0, which no guest would find; put one at ${formatSbdf((sbdf & ~7) as Sbdf)}`,
        { sbdf: formatSbdf(sbdf) },
      );
    }
  }
}

/** More than one function at this device's address? Bit 7 of the header type says so. */
function isMultiFunction(requests: readonly DeviceRequest[], sbdf: Sbdf): boolean {
  return requests.filter((request) => (request.sbdf & ~7) === (sbdf & ~7)).length > 1;
}
