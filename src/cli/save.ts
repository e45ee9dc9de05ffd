// SPDX-License-Identifier: MIT
/** `ioreqd save`: what the devices of a guest know, by hand, for another host or another toolstack than xl. */

import { IoreqdError } from "../base/errors.js";
import { domId } from "../base/ids.js";
import { control } from "../control/client.js";
import { findGuest } from "../launch/guest.js";
import { hostSettings } from "../launch/settings.js";
import { openStore } from "../launch/store.js";
import { readSnapshot } from "../state/snapshot.js";
import type { Saved } from "./control-commands.js";
import { findControl } from "./find-control.js";
import { DEFAULT_SAVED_DIR, keptPath, writeWhole } from "./saved-file.js";

/** Prints what was written. Throws CONTROL_UNREACHABLE, REQUESTS_WAITING, UUID_UNKNOWN, fs errors. */
export async function save(guest: string, file: string | undefined, flags: { stateDir?: string }): Promise<void> {
  const { domid, path: socket } = await findControl(guest, flags);
  const path = file ?? keptPath(hostSettings().savedDir ?? DEFAULT_SAVED_DIR, await uuidOf(domid));
  const { snapshot } = (await control(socket, "save")) as Saved;
  const bytes = Buffer.from(String(snapshot));
  const { devices } = readSnapshot(bytes);
  writeWhole(path, bytes);
  const what = devices.length === 1 ? "1 device" : `${devices.length} devices`;
  process.stdout.write(`domain ${domid}: ${what}, ${bytes.length} bytes in ${path}\n`);
}

async function uuidOf(domid: number): Promise<string> {
  const store = await openStore();
  const { uuid } = store === null ? { uuid: "" } : await findGuest(store, domId(domid)).finally(() => store.close());
  if (uuid !== "") return uuid;
  throw new IoreqdError("UUID_UNKNOWN", `domain ${domid} has no uuid that it could be kept under: name a file`, {
    domid,
  });
}
