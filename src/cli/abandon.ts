// SPDX-License-Identifier: MIT
/** `ioreqd abandon`: a guest whose device model is gone for good gets its answers, and goes on without the devices. */

import { IoreqdError, messageOf } from "../base/errors.js";
import { type DomId, domId, type IoservId } from "../base/ids.js";
import { Teardown } from "../base/teardown.js";
import { Access } from "../bus/access.js";
import { removeLeft } from "../chardev/index.js";
import type { Bus, GuestMemory } from "../ioreq/bus.js";
import { IoreqServer, isServerGone } from "../ioreq/server.js";
import { ServiceKeys } from "../launch/keys.js";
import { hostSettings } from "../launch/settings.js";
import { openStore } from "../launch/store.js";
import type { Arena } from "../state/arena.js";
import { readLayout } from "../state/read-layout.js";
import { openAdapter } from "../xen/ffi/index.js";
import type { XenHost } from "../xen/host.js";
import { NativeXen } from "../xen/native.js";
import type { XenStore } from "../xenstore/client.js";
import { DEFAULT_SAVED_DIR, keepSaved } from "./saved-file.js";
import { stateDirOf } from "./state-dir.js";
import { StateFile } from "./state-file.js";

export interface AbandonFlags {
  stateDir?: string;
}

/** Prints what was done. Throws DOMAIN_SERVED while a process serves the guest, NOTHING_LEFT, what XenHost throws. */
export async function abandon(number: number, flags: AbandonFlags): Promise<void> {
  const domid = domId(number);
  const ffi = openAdapter();
  const down = new Teardown();
  try {
    const state = new StateFile(ffi, { stateDir: stateDirOf(flags), domid }, down);
    state.keep = true;
    const arena = state.left();
    if (arena === null) {
      state.keep = false;
      throw new IoreqdError(
        "NOTHING_LEFT",
        `no process left a server for domain ${domid} in ${state.path}; --state-dir names another place`,
        { domid },
      );
    }
    const xen = new NativeXen(ffi);
    try {
      const { guestGone, done } = end(xen, domid, arena);
      removeSockets(arena);
      state.discard();
      keepSaved(stateDirOf(flags), domid, hostSettings().savedDir ?? DEFAULT_SAVED_DIR);
      const store = await openStore();
      if (store !== null) await clearKeys(store, domid, arena, guestGone).finally(() => store.close());
      process.stdout.write(`${done}\n`);
    } finally {
      xen.close();
    }
  } finally {
    down.close((what, error) => process.stderr.write(`ioreqd: ${what}: ${messageOf(error)}\n`));
  }
}

/** What was asked for stays as long as the guest does: it may be served again. */
function clearKeys(store: XenStore, domid: DomId, arena: Arena, guestGone: boolean): Promise<void> {
  const keys = new ServiceKeys(store, domid);
  return guestGone ? keys.removeAll() : keys.stopped(arena.header("ioservid"));
}

/** Those of serial lines. */
function removeSockets(arena: Arena): void {
  const { devices } = readLayout(arena.layout(), arena.dataLength);
  for (const option of devices.flatMap(({ spec }) => Object.values(spec?.options ?? {}))) removeLeft(String(option));
}

/** The guest has what it waits for, or is gone: it may end meanwhile, too. */
function end(xen: XenHost, domid: DomId, arena: Arena): { readonly guestGone: boolean; readonly done: string } {
  const id = arena.header("ioservid") as IoservId;
  try {
    xen.bufioreqPort(domid, id);
    answer(xen, domid, arena);
  } catch (error) {
    if (!isServerGone(error)) throw error;
    return { guestGone: true, done: `domain ${domid} has no ioreq server ${id} any more: its state file is removed` };
  }
  const done = `what waited is answered, ioreq server ${id} is destroyed, its devices read as all ones now`;
  return { guestGone: false, done: `domain ${domid}: ${done}` };
}

/** Answer what waits, and only then destroy the server: a vCPU that waits in a destroyed one waits for ever. */
function answer(xen: XenHost, domid: DomId, arena: Arena): void {
  arena.recover();
  const server = new IoreqServer(
    { domid, bufioreq: "off", polling: { window: 0, budget: 1 } },
    {
      xen,
      arena,
      bus: new Nobody(),
      memory: NO_MEMORY,
      guestEvent: () => {},
      changed: () => {},
      lost: () => {},
      watch: () => () => {},
    },
  );
  server.start();
  // A line that stays up would interrupt the guest for ever.
  for (const wire of arena.ledger.lines()) xen.setIntxLevel(domid, wire >>> 2, (wire & 3) as 0 | 1 | 2 | 3, false);
  server.stop();
}

/** A bus without devices. */
class Nobody implements Bus {
  readonly access = new Access();
  read(): number {
    return -1;
  }
  write(): void {}
  accepts8(): boolean {
    return true;
  }
  flush(): void {}
}

const NO_MEMORY: GuestMemory = { read: () => false, write: () => false, invalidate: () => {} };
