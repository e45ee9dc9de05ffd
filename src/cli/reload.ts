// SPDX-License-Identifier: MIT
/** `ioreqd reload`: another process goes on with a guest, if it can; else the one that serves it does. */

import { setTimeout } from "node:timers/promises";
import { hasCode, IoreqdError } from "../base/errors.js";
import { control } from "../control/client.js";
import type { Reloading, ServingProcess } from "./control-commands.js";
import { findControl } from "./find-control.js";

/** How long the new process has from its start until it serves, and how often it is looked for. */
const TIMEOUT_MS = 30_000;
const LOOK_MS = 10;

/** Prints who serves from now on. Throws what the new process says against it, RELOAD_FAILED, CONTROL_UNREACHABLE. */
export async function reload(guest: string, flags: { stateDir?: string }): Promise<void> {
  const { domid, path } = await findControl(guest, flags);
  const before = (await control(path, "version")) as ServingProcess;
  const { pid } = (await control(path, "reload")) as Reloading;
  const until = performance.now() + TIMEOUT_MS;
  for (;;) {
    const now = await whoServes(path);
    if (now?.pid === pid) {
      const waited = now.waitedMs === null ? "" : `; the guest waited ${now.waitedMs.toFixed(1)} ms`;
      process.stdout.write(`domain ${domid} is served by process ${pid}, ioreqd ${now.version}${waited}\n`);
      return;
    }
    if (performance.now() > until || (now?.pid === before.pid && !isRunning(pid))) throw failed(domid, pid, now);
    await setTimeout(LOOK_MS);
  }
}

/** Null while one has let go of the socket and the other has not made it. */
async function whoServes(path: string): Promise<ServingProcess | null> {
  try {
    return (await control(path, "version")) as ServingProcess;
  } catch (error) {
    if (hasCode(error, "CONTROL_UNREACHABLE")) return null;
    throw error;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function failed(domid: number, pid: number, now: ServingProcess | null): IoreqdError {
  const who = now === null ? "nobody serves the guest now" : `process ${now.pid} goes on serving it`;
  return new IoreqdError(
    "RELOAD_FAILED",
    `process ${pid} did not go on with domain ${domid}: ${who}; the log says why`,
    { domid, pid },
  );
}
