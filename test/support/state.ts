// SPDX-License-Identifier: MIT
/** A device's state in an arena, without anybody who serves it; and the process that comes next, with another table. */

import { sbdf } from "../../src/base/ids.js";
import { definePciDevice, type PciDevice } from "../../src/pci/define.js";
import { type DeviceRequest, planTree } from "../../src/pci/plan.js";
import { planAgain, takeState } from "../../src/pci/plan-again.js";
import { PciTree } from "../../src/pci/tree.js";
import { Arena, arenaSize, type Reserve } from "../../src/state/arena.js";
import { keptOf, type Value } from "../../src/state/kept.js";
import type { ArenaLayout, DeviceRecipe, PlaceDescription } from "../../src/state/layout.js";

const ROOM: Reserve = { data: 65_536, layout: 65_536 };
export const ident = { vendor: 0x1234, device: 0x0042, classCode: 0x00ff00 } as const;

/** A device with one BAR of these registers. */
export const withRegisters = (
  regs: NonNullable<NonNullable<NonNullable<PciDevice["bars"]>[0]>["regs"]>,
  more: Partial<PciDevice> = {},
): PciDevice => definePciDevice({ name: "card", ident, bars: { 0: { space: "mem32", size: 4096, regs } }, ...more });

/** Recipes of these devices are their positions. */
export function requestsOf(devices: readonly PciDevice[]): (recipes: readonly DeviceRecipe[]) => DeviceRequest[] {
  return (recipes) =>
    recipes.map((spec) => {
      const at = Number(spec.device);
      return { device: devices[at] as PciDevice, sbdf: sbdf(0, 0, 0x10 + at, 0), options: {}, spec };
    });
}

const recipes = (devices: readonly PciDevice[]): DeviceRecipe[] =>
  devices.map((_, at) => ({ device: String(at), options: {} }));

/** As after power-on. */
export function arenaOf(devices: readonly PciDevice[], room = ROOM): Arena {
  const plan = planTree(requestsOf(devices)(recipes(devices)));
  const { dataLength, layout } = plan;
  const buffer = new ArrayBuffer(arenaSize(dataLength, layout, room));
  const arena = Arena.create(buffer, dataLength, layout, room);
  const tree = new PciTree(plan, arena);
  arena.transact(() => tree.reset());
  return arena;
}

/** What a process does that takes over and has these tables. */
export function takeOver(arena: Arena, devices: readonly PciDevice[]): void {
  const plan = planAgain(arena, requestsOf(devices));
  arena.transact(() => takeState(arena, plan));
}

const layoutOf = (arena: Arena): ArenaLayout => JSON.parse(arena.layout()) as ArenaLayout;

function placeOf(arena: Arena, name: string, device: number): PlaceDescription {
  const [group, ...rest] = name.split(".");
  const groups = layoutOf(arena).devices[device]?.groups;
  return groups
    ?.find((one) => one.name === group)
    ?.places.find((one) => one.name === rest.join(".")) as PlaceDescription;
}

/** The value of "bar0.LIVE". */
export function valueAt(arena: Arena, name: string, device = 0): Value | undefined {
  const description = layoutOf(arena).devices[device];
  const [group = "", ...rest] = name.split(".");
  return description === undefined ? undefined : keptOf(arena, description).groups[group]?.[rest.join(".")]?.value;
}

export function setValue(arena: Arena, name: string, value: bigint | Uint8Array, device = 0): void {
  const { at, width } = placeOf(arena, name, device);
  const bytes = typeof value === "bigint" ? Buffer.alloc(8) : Buffer.from(value);
  if (typeof value === "bigint") bytes.writeBigUInt64LE(value);
  arena.transact(() => {
    for (let i = 0; i < width; i += 1) arena.store(arena.dataAt + at + i, 1, bytes[i] ?? 0);
  });
}

/** All values of all devices, by name. */
export const everything = (arena: Arena): unknown => layoutOf(arena).devices.map((device) => keptOf(arena, device));
