// SPDX-License-Identifier: MIT
/** The tree of a snapshot, for a state file that is made for it. */

import { incompatible } from "../state/kept.js";
import { type DeviceDescription, type DeviceRecipe, LayoutBuilder } from "../state/layout.js";
import { devicesAt, type Snapshot } from "../state/snapshot.js";
import { type DeviceRequest, planTree } from "./plan.js";
import { contentsOf, type PlanAgain, recipeOf } from "./plan-again.js";
import type { HostWindows } from "./windows.js";

/**
 * For a guest that comes from elsewhere: its tree, and what is to stand in an arena that is made for it. `now`: ms of
 * CLOCK_MONOTONIC. Throws as planAgain() does.
 */
export function planSnapshot(
  snapshot: Snapshot,
  now: number,
  requestsOf: (recipes: readonly DeviceRecipe[]) => readonly DeviceRequest[],
): PlanAgain {
  const devices = devicesAt(snapshot, now);
  const hosts = snapshot.hosts as readonly HostWindows[] | undefined;
  const builder = new LayoutBuilder({ devices: [], ...(hosts === undefined ? {} : { hosts }) });
  const plan = planTree(requestsOf(devices.map(recipeOf)), hosts, builder);
  const contents = plan.functions.flatMap(({ path, device }) => {
    const kept = devices.find((one) => one.path === path);
    const description = builder.layout.devices.find((one) => one.path === path) as DeviceDescription;
    if (kept === undefined) throw incompatible(description, "the snapshot does not have it");
    return contentsOf(kept, description, device);
  });
  return { ...plan, contents };
}
