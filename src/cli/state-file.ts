// SPDX-License-Identifier: MIT
/** The directory of a domain that is served, and the state file in it. */

import { existsSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { IoreqdError } from "../base/errors.js";
import type { Teardown } from "../base/teardown.js";
import type { TreePlan } from "../pci/plan.js";
import { Arena, arenaSize, RESERVE, SERVER_STATE } from "../state/arena.js";
import type { FfiAdapter } from "../xen/ffi/table.js";
import { mapFile } from "../xen/map-file.js";

export const statePath = (stateDir: string, domid: number): string => join(stateDir, String(domid), "state");

export const controlPath = (stateDir: string, domid: number): string => join(stateDir, String(domid), "control");

/**
 * Make the state file of a domain, with room for devices that come later; `down` removes it.
 * Throws DOMAIN_SERVED, STATE_LEFT_BEHIND, ARENA_INVALID (of the file that is there), fs errors.
 */
export function createState(
  ffi: FfiAdapter,
  { stateDir, domid }: { readonly stateDir: string; readonly domid: number },
  { dataLength, layout }: TreePlan,
  down: Teardown,
): Arena {
  const path = statePath(stateDir, domid);
  refuseIfServed(ffi, path, domid);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  down.defer("remove the state file", () => removeState(path));
  const file = mapFile(ffi, path, { create: arenaSize(dataLength, layout, RESERVE) });
  const arena = Arena.create(file.buffer, dataLength, layout, RESERVE);
  arena.setHeader("domid", domid);
  arena.setHeader("pid", process.pid);
  return arena;
}

/** The directory goes too, unless somebody else needs it: to a unit it is a mount point, and systemd's to remove. */
function removeState(path: string): void {
  rmSync(path, { force: true });
  try {
    rmdirSync(dirname(path));
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!["EBUSY", "ENOTEMPTY", "ENOENT", "EACCES", "EPERM"].includes(code)) throw error;
  }
}

/** Two daemons for one guest would both answer. A dead one's server still has vCPUs that wait in it. */
function refuseIfServed(ffi: FfiAdapter, path: string, domid: number): void {
  if (!existsSync(path)) return;
  const file = mapFile(ffi, path, { readonly: true });
  try {
    refuseServed(Arena.open(file.buffer), path, domid);
  } finally {
    file.unmap();
  }
}

function refuseServed(arena: Arena, path: string, domid: number): void {
  const pid = arena.header("pid");
  if (isAlive(pid)) {
    throw new IoreqdError(
      "DOMAIN_SERVED",
      `domain ${domid} is served by process ${pid} already; end it first, or choose another --state-dir`,
      { domid, pid },
    );
  }
  if (arena.header("serverState") !== SERVER_STATE.none) {
    throw new IoreqdError(
      "STATE_LEFT_BEHIND",
      `process ${pid} died while serving domain ${domid}; its ioreq server ${arena.header("ioservid")} is still registered with Xen. If the domain is gone or was started anew, remove ${path}; otherwise restart the guest first`,
      { domid, pid, path },
    );
  }
}

function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
