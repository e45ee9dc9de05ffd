// SPDX-License-Identifier: MIT
/** Whether this program can take over a state file, tried on a copy while another process works with it. */

import { sleepThread } from "../base/sleep.js";
import { resolveAgain } from "../launch/device-spec.js";
import type { Grants } from "../launch/grants.js";
import { planAgain, takeState } from "../pci/plan-again.js";
import { type DeviceRights, tellingWhose } from "../pci/rights.js";
import { PciTree } from "../pci/tree.js";
import { Arena, HEADER } from "../state/arena.js";
import type { DeviceRecipe } from "../state/layout.js";
import type { FfiAdapter } from "../xen/ffi/table.js";
import { mapFile } from "../xen/map-file.js";

/**
 * Try on a copy whether this program can take over a state file that another process works with. Throws what planAgain()
 * and Grants.check() throw, DEVICE_FAILED.
 */
export function rehearse(
  ffi: FfiAdapter,
  path: string,
  grants: Grants,
  configured: () => readonly DeviceRecipe[],
): void {
  const file = mapFile(ffi, path, { readonly: true });
  try {
    const arena = quietCopy(file.buffer);
    const plan = planAgain(arena, (recipes) => resolveAgain(grants.check(recipes, configured)));
    const tree = new PciTree(plan, arena);
    arena.transact(() => {
      takeState(arena, plan);
      for (const fn of tree.functions) tellingWhose(fn.label, () => fn.attach(NO_RIGHTS));
    });
    tree.detach();
  } finally {
    file.unmap();
  }
}

/** As it is between two transactions: most of the time. In the middle of one it is as a process that died there leaves it. */
function quietCopy(buffer: ArrayBuffer): Arena {
  const live = new Int32Array(buffer);
  for (let tries = COPIES; ; tries -= 1) {
    const arena = Arena.open(buffer.slice(0));
    const isWhole = arena.header("layoutChanges") === Atomics.load(live, HEADER.layoutChanges);
    if (arena.recover() < 0 && isWhole) return arena;
    if (tries === 0) return arena;
    sleepThread(1);
  }
}
const COPIES = 100;

/** Nothing that a device does in a rehearsal leaves it. */
const NO_RIGHTS: DeviceRights = {
  dma: () => ({ read: () => false, write: () => false }),
  log: () => ({ info: () => {}, debug: () => {}, guest: () => {} }),
  chardev: () => ({ write: () => {}, ready: true, onReady: () => {}, onReceive: () => {}, poll: () => {} }),
  host: () => {},
  replace: () => ({ keep: () => {}, undo: () => {} }),
  release: () => {},
};
