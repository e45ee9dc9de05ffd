// SPDX-License-Identifier: MIT
/** From a list of devices to places in the arena: done before anything is created, so mistakes cost nothing. */

import type { Sbdf } from "../base/ids.js";
import { blockSpan } from "../bus/block.js";
import { type BlockTable, isBytes, type Row, resolveTable, rowLength } from "../bus/table.js";
import { placeFields } from "../state/fields.js";
import { type DeviceDescription, type DeviceRecipe, LayoutBuilder, type PlaceDescription } from "../state/layout.js";
import { placeChardev } from "./chardev-state.js";
import type { OptionValues, PciDevice } from "./define.js";
import { FUNCTION_STATE } from "./function-state.js";
import { type FunctionTables, functionTables, type Standing } from "./header.js";
import { MESSAGE_STATE_BYTES } from "./messages.js";
import { type FunctionPlace, isMultiFunction, placesOf } from "./places.js";
import { romSize } from "./rom.js";
import { placeTimers } from "./timers.js";
import { checkWindows, type HostWindows } from "./windows.js";

/** A device as the operator asked for it. */
export interface DeviceRequest {
  readonly device: PciDevice;
  /** Where it goes on a root bus; behind a bridge only the device and function of it count. */
  readonly sbdf: Sbdf;
  /** What others call it. */
  readonly id?: string;
  /** The id of the bridge it is behind; on a root bus unless told. */
  readonly bus?: string;
  /** Other functions of its slot are another process's. */
  readonly sharesSlot?: boolean;
  /** It may be another's already, who then loses it. */
  readonly shadows?: boolean;
  readonly options: OptionValues;
  /** Contents of a ROM file that replaces the device's own. */
  readonly rom?: Uint8Array;
  /** From which all of this can be had again. */
  readonly spec?: DeviceRecipe;
}

/** What every machine has: one host bridge, of which the processor sees no windows. */
const FIRST_HOST: HostWindows = { segment: 0, bus: 0 };

/** A function with its tables complete and its places given. Offsets in the arena's data area. */
export interface FunctionPlan {
  /** "0000:00:10.0", and behind a bridge there "0000:00:1c.0/00.0": what stays when bus numbers change. */
  readonly path: string;
  readonly id: string | null;
  /** Its address on a root bus; null behind a bridge. */
  readonly root: Sbdf | null;
  /** Path of the bridge it is behind; null on a root bus. */
  readonly parent: string | null;
  /** Device 7:3 and function 2:0 on its bus. */
  readonly devfn: number;
  /** See DeviceRequest. */
  readonly sharesSlot: boolean;
  readonly shadows: boolean;
  readonly device: PciDevice;
  readonly options: OptionValues;
  readonly standing: Standing;
  readonly tables: FunctionTables;
  readonly rom: Uint8Array;
  readonly romSize: number;
  readonly at: {
    readonly config: number;
    readonly bars: Readonly<Record<number, number>>;
    readonly ports: Readonly<Record<string, number>>;
    readonly state: number;
    readonly timers: number;
    /** See FUNCTION_STATE. */
    readonly function: number;
    /** See MESSAGE_STATE_BYTES. */
    readonly messages: number;
    /** By option; see chardev-state.ts. Those that go nowhere have none. */
    readonly chardevs: Readonly<Record<string, number>>;
  };
}

export interface TreePlan {
  readonly functions: readonly FunctionPlan[];
  readonly hosts: readonly HostWindows[];
  /** Bytes of the data area. */
  readonly dataLength: number;
  /** JSON of ArenaLayout. */
  readonly layout: string;
}

/** Throws TABLE_INVALID, or BUS_UNKNOWN, SLOT_TAKEN, NO_FUNCTION_0, WINDOW_INVALID where it makes no tree of buses. */
export function planTree(
  requests: readonly DeviceRequest[],
  hosts: readonly HostWindows[] = [FIRST_HOST],
  builder = new LayoutBuilder({ devices: [], hosts }),
): TreePlan {
  checkWindows(hosts);
  const places = placesOf(requests, hosts);
  const functions = places.map((place) => planFunction(builder, place, isMultiFunction(places, place)));
  return { functions, hosts, dataLength: builder.length, layout: builder.toJSON() };
}

/** One function, with places from `builder`. Throws TABLE_INVALID, ARENA_FULL. */
export function planFunction(builder: LayoutBuilder, place: FunctionPlace, multiFunction: boolean): FunctionPlan {
  const { request, path, parent } = place;
  const { device, options, sharesSlot = false, shadows = false } = request;
  const rom = request.rom ?? device.rom ?? new Uint8Array();
  const standing: Standing = { rootBus: parent === null, multiFunction: multiFunction || sharesSlot };
  const tables = functionTables(device, options, romSize(rom.length), standing);
  const entry = builder.device(path, device.name, request.id, request.spec);
  const blocks = <K extends string | number>(prefix: string, list: ReadonlyArray<readonly [K, BlockTable]>) =>
    Object.fromEntries(list.map(([key, table]) => [key, placeBlock(builder, entry, `${prefix}${key}`, table)]));
  const at = {
    config: placeBlock(builder, entry, "config", tables.config),
    bars: blocks("bar", tables.bars),
    ports: blocks("", Object.entries(device.ports ?? {})),
    state: placeGroup(builder, entry, "state", placeFields(device.state ?? {})),
    timers: placeGroup(builder, entry, "timers", placeTimers(device.timers ?? [])),
    function: placeGroup(builder, entry, "function", FUNCTION_STATE),
    messages: placeGroup(builder, entry, "messages", {
      places: [{ name: "pending", at: 0, width: 4, kind: "number" }],
      length: MESSAGE_STATE_BYTES,
    }),
    chardevs: Object.fromEntries(
      chardevOptions(device, options).map((option) => {
        return [option, placeGroup(builder, entry, `chardev.${option}`, placeChardev())];
      }),
    ),
  };
  return {
    path,
    id: request.id ?? null,
    root: parent === null ? request.sbdf : null,
    parent,
    devfn: request.sbdf & 0xff,
    sharesSlot,
    shadows,
    device,
    options,
    standing,
    tables,
    rom,
    romSize: romSize(rom.length),
    at,
  };
}

function chardevOptions({ options: rows = {} }: PciDevice, options: OptionValues): string[] {
  return Object.keys(rows).filter((key) => rows[key]?.kind === "chardev" && (options[key] ?? "null") !== "null");
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
      ...contentsOf(row),
    }),
  );
  return builder.group(entry, name, blockSpan(rows), places);
}

/** For whoever has the layout, but not the table: what is there after reset, and what the guest may make of it. */
function contentsOf(row: Row): Pick<PlaceDescription, "reset" | "writable"> {
  if (isBytes(row)) {
    const text = typeof row.reset === "string" ? Buffer.from(row.reset, "latin1") : (row.reset ?? []);
    const reset = Buffer.from(text)
      .toString("hex")
      .replace(/(00)+$/, "");
    return reset === "" ? {} : { reset };
  }
  const reset = BigInt(row.reset ?? 0);
  const writable = BigInt(row.rw ?? 0) | BigInt(row.w1c ?? 0);
  return {
    ...(reset === 0n ? {} : { reset: reset.toString(16) }),
    ...(writable === 0n ? {} : { writable: writable.toString(16) }),
  };
}
