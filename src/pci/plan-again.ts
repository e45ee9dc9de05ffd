// SPDX-License-Identifier: MIT
/**
 * The tree of a layout again: for a process that takes over, whose devices may
 * have other tables by now. State then moves by name within the arena: all is
 * checked here, before anything is changed, and takeState() does it.
 */

import { IoreqdError } from "../base/errors.js";
import type { Arena } from "../state/arena.js";
import { type Contents, contentsFor, incompatible, type KeptDevice, keptOf, put, resetOf } from "../state/kept.js";
import { type DeviceDescription, type DeviceRecipe, LayoutBuilder } from "../state/layout.js";
import { readLayout } from "../state/read-layout.js";
import type { PciDevice } from "./define.js";
import { type DeviceRequest, planTree, type TreePlan } from "./plan.js";
import type { HostWindows } from "./windows.js";

/** What devices are to go on with, where their tables are others than before. */
export interface StateMove {
  readonly contents: readonly Contents[];
  /** JSON of ArenaLayout: the one that is to hold. */
  readonly layout: string;
}

export type PlanAgain = TreePlan & StateMove;

/**
 * `requestsOf` makes requests of recipes. Throws as planTree does; ARENA_FULL; STATE_INCOMPATIBLE where a device can't
 * go on with what it knows.
 */
export function planAgain(
  arena: Arena,
  requestsOf: (recipes: readonly DeviceRecipe[]) => readonly DeviceRequest[],
): PlanAgain {
  const before = readLayout(arena.layout(), arena.dataLength);
  const requests = requestsOf(before.devices.map(recipeOf));
  const builder = new LayoutBuilder(before, arena.dataLength, () => true);
  const plan = planTree(requests, before.hosts as readonly HostWindows[] | undefined, builder);
  const contents = plan.functions.flatMap(({ path, device }) => {
    const [old, now] = [before, builder.layout].map(({ devices }) => devices.find((one) => one.path === path));
    return moveDevice(arena, old as DeviceDescription, now as DeviceDescription, device);
  });
  arena.checkLayout(plan.layout);
  return { ...plan, contents };
}

export function recipeOf({ path, device, spec }: Pick<DeviceDescription, "path" | "device" | "spec">): DeviceRecipe {
  if (spec !== undefined) return spec;
  throw new IoreqdError("STATE_INCOMPATIBLE", `the state file does not say how ${device} at ${path} is made`);
}

/** What is to stand in the places of `now`; nothing where they are those of before. Throws STATE_INCOMPATIBLE. */
export function moveDevice(
  arena: Arena,
  before: DeviceDescription,
  now: DeviceDescription,
  device: PciDevice,
): Contents[] {
  if (JSON.stringify(before) === JSON.stringify(now)) return [];
  return contentsOf(keptOf(arena, before), now, device);
}

export function contentsOf(kept: KeptDevice, now: DeviceDescription, device: PciDevice): Contents[] {
  checkBars(kept, now);
  return contentsFor(kept, now, device.upgrade);
}

/** Within a transaction, as the last thing in it. Throws ARENA_FULL. */
export function takeState(arena: Arena, { contents, layout }: StateMove): void {
  for (const one of contents) put(arena, one);
  if (layout !== arena.layout()) arena.setLayout(layout);
}

/** The low bits of a BAR say whether its address is of ports or memory: a guest that has given it one won't look again. */
function checkBars(kept: KeptDevice, now: DeviceDescription): void {
  const places = now.groups.find(({ name }) => name === "config")?.places ?? [];
  for (const place of places.filter(({ name }) => /^BAR\d$/.test(name))) {
    const before = kept.groups["config"]?.[place.name];
    if (before === undefined || before.reset === resetOf(place) || before.value === before.reset) continue;
    throw incompatible(now, `config.${place.name} is of another kind, and the guest has given it an address`);
  }
}
