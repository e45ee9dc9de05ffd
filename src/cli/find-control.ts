// SPDX-License-Identifier: MIT
/** Where the process listens that serves a guest. */

import { IoreqdError } from "../base/errors.js";
import { domId } from "../base/ids.js";
import { resolveGuest } from "../launch/guest.js";
import { openStore } from "../launch/store.js";
import { stateDirOf } from "./state-dir.js";
import { controlPath } from "./state-file.js";

/** By number also without xenstore: then it is not asked whether there is such a guest, for there may be a socket. */
export async function findControl(
  guest: string,
  flags: { stateDir?: string },
): Promise<{ domid: number; stateDir: string; path: string }> {
  const domid = /^\d+$/.test(guest) ? domId(Number(guest)) : await domidOf(guest);
  const stateDir = stateDirOf(flags);
  return { domid, stateDir, path: controlPath(stateDir, domid) };
}

async function domidOf(name: string): Promise<number> {
  const store = await openStore();
  if (store === null) {
    throw new IoreqdError("XENSTORE_UNREACHABLE", "this simulated host has no xenstore: give the guest's number");
  }
  try {
    return (await resolveGuest(store, name)).domid;
  } finally {
    store.close();
  }
}
