// SPDX-License-Identifier: MIT
/** `ioreqd reload`: another process goes on with a guest, if it can; else the one that serves it does. */

import { existsSync, readdirSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { hasCode, IoreqdError, messageOf } from "../base/errors.js";
import { printable } from "../base/printable.js";
import { control } from "../control/client.js";
import type { Reloading, ServingProcess } from "./control-commands.js";
import { findControl } from "./find-control.js";
import { reloadUnit } from "./reload-unit.js";
import { stateDirOf } from "./state-dir.js";
import { controlPath } from "./state-file.js";

/** How long the new process has from its start until it serves, and how often it is looked for. */
const TIMEOUT_MS = 30_000;
const LOOK_MS = 10;

export interface ReloadFlags {
  stateDir?: string;
  all?: boolean;
}

/**
 * Prints who serves from now on. Throws what the new process says against it, RELOAD_FAILED, CONTROL_UNREACHABLE. With
 * --all it is what went wrong that is printed, and the exit code says whether anything did.
 */
export async function reload(guest: string | undefined, flags: ReloadFlags): Promise<number> {
  if ((guest === undefined) !== (flags.all === true)) {
    throw new IoreqdError("DOMID_MISSING", "reload wants a domain id or a name, or --all: one of the two");
  }
  if (guest !== undefined) {
    await reloadOne(guest, flags);
    return 0;
  }
  let failed = 0;
  // One after the other: each takes a processor for a while, which the other guests need.
  for (const domid of served(stateDirOf(flags))) {
    try {
      await reloadOne(String(domid), flags);
    } catch (error) {
      if (!(error instanceof IoreqdError)) throw error;
      failed += 1;
      process.stderr.write(printable(`ioreqd: domain ${domid}: ${error.code}: ${messageOf(error)}\n`));
    }
  }
  return failed === 0 ? 0 : 1;
}

function served(stateDir: string): number[] {
  if (!existsSync(stateDir)) return [];
  return readdirSync(stateDir)
    .filter((name) => /^\d+$/.test(name) && existsSync(controlPath(stateDir, Number(name))))
    .map(Number)
    .sort((a, b) => a - b);
}

async function reloadOne(guest: string, flags: ReloadFlags): Promise<void> {
  const { domid, path } = await findControl(guest, flags);
  const before = (await control(path, "version")) as ServingProcess;
  if (before.confined) {
    const waited = await reloadUnit(domid, before.pid);
    tell((await control(path, "version")) as ServingProcess, domid, `at most ${waited.toFixed(1)} ms`);
  } else {
    const now = await succeeded(domid, path, before);
    tell(now, domid, now.waitedMs === null ? null : `${now.waitedMs.toFixed(1)} ms`);
  }
}

function tell({ pid, version }: ServingProcess, domid: number, waited: string | null): void {
  const wait = waited === null ? "" : `; the guest waited ${waited}`;
  process.stdout.write(printable(`domain ${domid} is served by process ${pid}, ioreqd ${version}${wait}\n`));
}

/** The process that serves has another one go on. */
async function succeeded(domid: number, path: string, before: ServingProcess): Promise<ServingProcess> {
  const { pid } = (await control(path, "reload")) as Reloading;
  const until = performance.now() + TIMEOUT_MS;
  for (;;) {
    const now = await whoServes(path);
    if (now?.pid === pid) return now;
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
