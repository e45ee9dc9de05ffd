// SPDX-License-Identifier: MIT
/** One input, from its first byte to its last. */

import { STATE } from "../src/spec/xen-ioreq.js";
import { Bytes } from "./bytes.js";
import type { VirtualClock } from "./clock.js";
import { FuzzFailure, must } from "./failure.js";
import { checkCapabilities, checkServed, checkWorld } from "./oracles.js";
import { steps } from "./steps.js";
import { topologies } from "./topologies.js";
import { World } from "./world.js";

/** Of one step, of processor time, which doesn't pass faster where others have the processor: twenty times what the slowest takes. */
const LONGEST_STEP_MS = 2000;
/** Calls of the hypervisor in one step: two for each of 256 ranges, and as much again. */
const MOST_CALLS = 1024;

/** Throws FuzzFailure, which says at which step. Returns how many steps there were. */
export function runInput(bytes: Uint8Array, clock: VirtualClock): number {
  const input = new Bytes(bytes);
  clock.clear();
  clock.now = 1;
  let step = 0;
  let name = "the machine is made";
  let world: World | null = null;
  try {
    world = new World(input.pick(topologies), clock);
    for (; !input.ended; step += 1) {
      const act = steps[input.below(steps.length)] as (typeof steps)[number];
      name = act.name;
      const calls = world.host.calls;
      const before: World = world;
      const start = process.cpuUsage();
      world = act(world, input);
      const { user, system } = process.cpuUsage(start);
      const ms = (user + system) / 1000;
      must(ms < LONGEST_STEP_MS, () => `it took ${Math.round(ms)} ms`);
      if (world === before) must(world.host.calls - calls < MOST_CALLS, () => "it called the hypervisor without end");
      checkWorld(world);
      if (step % 8 === 0) checkCapabilities(world);
    }
    end(world);
    return step;
  } catch (error) {
    const text = error instanceof FuzzFailure ? error.message : String((error as Error).stack);
    throw new FuzzFailure(`step ${step} (${name}): ${text}`, { cause: error });
  } finally {
    world?.tree.detach();
    clock.clear();
  }
}

/** As when the server stops: whoever waits is answered. */
function end(world: World): void {
  world.serveAll();
  world.engine.abandonLate();
  checkServed(world);
  must(world.slotsIn(STATE.inProcess).length === 0, () => "somebody still waits at the end");
  checkWorld(world);
  checkCapabilities(world);
  world.tree.detach();
}
