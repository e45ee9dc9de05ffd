// SPDX-License-Identifier: MIT
/** Where the state is of the devices of a guest that is restored, or migrated within this host. */

import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { hasCode, IoreqdError } from "../base/errors.js";
import { control } from "../control/client.js";
import type { Config } from "../launch/config.js";
import type { Guest } from "../launch/guest.js";
import { DEFAULT_CONFIG_DIR } from "../launch/settings.js";
import { readSnapshot } from "../state/snapshot.js";
import type { Saved } from "./control-commands.js";
import { DEFAULT_SAVED_DIR, keptPath, readBytes, savedPath, writeWhole } from "./saved-file.js";
import { DEFAULT_STATE_DIR } from "./state-dir.js";
import { controlPath } from "./state-file.js";

/** How long, in ms, the process that serves the guest here until now has to say what its devices know. */
const ASK_MS = 10_000;

type Places = Pick<Config, "stateDir" | "savedDir">;

/**
 * The path of the state of a guest's devices, or null where there is none. A domain of this uuid that is here already is
 * the one that this guest comes from, suspended, or one that has just ended: what its devices know goes to where that of
 * saved guests is. `isThere`: whether a domain has not ended.
 * Throws SNAPSHOT_UNREADABLE, SNAPSHOT_INVALID, SNAPSHOT_VERSION_UNKNOWN, REQUESTS_WAITING, CONTROL_UNREACHABLE, fs errors.
 */
export async function keptState(
  { domid, uuid }: Pick<Guest, "domid" | "uuid">,
  places: Places,
  isThere: (domid: number) => Promise<boolean>,
): Promise<string | null> {
  if (uuid === "") return null;
  const { stateDir = DEFAULT_STATE_DIR, savedDir = DEFAULT_SAVED_DIR } = places;
  const path = keptPath(savedDir, uuid);
  for (const other of othersIn(stateDir, domid)) {
    const saved = savedPath(stateDir, other, uuid);
    const written = statSync(saved, { throwIfNoEntry: false });
    if (written === undefined) continue;
    if (await isThere(other)) {
      writeWhole(path, await asked(controlPath(stateDir, other), saved));
      break;
    }
    // Its unit is about to put it there.
    if (written.size > 0 && written.mtimeMs > (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0))
      writeWhole(path, readBytes(saved));
  }
  return existsSync(path) ? path : null;
}

/** Domains that are served here, or were until now; the latest first. */
function othersIn(stateDir: string, domid: number): number[] {
  const names = existsSync(stateDir) ? readdirSync(stateDir).filter((name) => /^\d+$/.test(name)) : [];
  return names
    .map(Number)
    .filter((other) => other !== domid)
    .sort((a, b) => b - a);
}

/**
 * What the process that serves a suspended guest says its devices know. Where it has died there is soon another; where there
 * is none for long, what was written when the guest was suspended.
 */
async function asked(socket: string, saved: string): Promise<Buffer> {
  const until = performance.now() + ASK_MS;
  for (;;) {
    try {
      const { snapshot } = (await control(socket, "save", {}, ASK_MS)) as Saved;
      const bytes = Buffer.from(String(snapshot));
      readSnapshot(bytes);
      return bytes;
    } catch (error) {
      if (!hasCode(error, "CONTROL_UNREACHABLE")) throw error;
      if (performance.now() > until) {
        const bytes = readBytes(saved);
        if (bytes.length === 0) throw error;
        return bytes;
      }
    }
    await setTimeout(RETRY_MS);
  }
}
const RETRY_MS = 50;

/** SAVED_STATE_MISSING: where it was looked for, and what can be done. */
export function stateMissing({ domid, name, uuid }: Guest, places: Places): IoreqdError {
  const { stateDir = DEFAULT_STATE_DIR, savedDir = DEFAULT_SAVED_DIR } = places;
  const guest = name ?? "NAME";
  return new IoreqdError(
    "SAVED_STATE_MISSING",
    `domain ${domid} (${guest}) is restored, and what its devices knew is not here: looked for ${join(stateDir, "*", `${uuid}.saved`)} and ${keptPath(savedDir, uuid)}. ` +
      `From another host bring that file along (there: ioreqd save, or ${savedDir}); or let the devices begin as after power-on, of which the guest's drivers know nothing: "withoutState": "fresh" in ${DEFAULT_CONFIG_DIR}/guests/${guest}.conf`,
    { domid, uuid },
  );
}
