// SPDX-License-Identifier: MIT
/**
 * `ioreqd reload` of a guest that a confined process serves. That one can't
 * start another, so systemd does, by restarting the unit. What a successor
 * tries before it says that it can go on (rehearsal.ts) is tried first, by a
 * process of its own: the command that the unit is about to start, which sees
 * the files that the unit sees and is root without a capability, as the unit's
 * process is while it reads the state file that a confined one has written.
 */

import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { hasCode, IoreqdError } from "../base/errors.js";
import { printable } from "../base/printable.js";
import { unitOf } from "../launch/service.js";
import { SUCCESSOR, said } from "./successor.js";
import { restartUnit, type UnitState, unitState } from "./systemd.js";

/** How long a rehearsal may take, in ms: a device's attach() might hang. */
const REHEARSAL_MS = 30_000;

/** The namespaces of the unit's process, and no capability. Source: nsenter(1), setpriv(1). */
const inUnit = (pid: number): string[] => [
  ...["nsenter", "--target", String(pid), "--mount", "--net", "--ipc", "--"],
  ...["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", "--"],
];

/**
 * `pid`: of the process that serves. Resolves when another one does, with how long, in ms, the guest waited at most. Throws
 * what speaks against it, and then nothing has happened; RELOAD_FAILED.
 */
export async function reloadUnit(domid: number, pid: number): Promise<number> {
  const unit = unitOf(domid);
  const before = await unitState(unit);
  if (before.mainPid !== pid) throw notOfUnit(domid, pid, unit);
  await rehearseUnit(unit, before);
  const failed = await restartUnit(unit);
  const now = await unitState(unit);
  if (failed !== null) throw notBack(domid, unit, now, failed);
  return now.activeEnter - now.activeExit;
}

async function rehearseUnit(unit: string, { mainPid, command }: UnitState): Promise<void> {
  if (command.length === 0)
    throw new IoreqdError("RELOAD_FAILED", `systemctl show ${unit} names no command to rehearse`);
  const [program = "", ...words] = [...inUnit(mainPid), ...command, SUCCESSOR];
  const { NOTIFY_SOCKET: _not, WATCHDOG_USEC: _ours, ...env } = process.env;
  const child = spawn(program, words, { env, stdio: ["ignore", "ignore", "pipe", "ipc"] });
  const log = text(child.stderr as NodeJS.ReadableStream).catch(() => "");
  const late = new AbortController();
  try {
    await Promise.race([said(child, "prepared"), tooLate(unit, late.signal)]);
  } catch (error) {
    child.kill("SIGKILL");
    // It has said nothing that could be passed on, so its log may tell.
    if (hasCode(error, "RELOAD_FAILED")) process.stderr.write(printable(await log));
    throw error;
  } finally {
    late.abort();
    child.kill("SIGKILL");
  }
}

async function tooLate(unit: string, signal: AbortSignal): Promise<never> {
  await setTimeout(REHEARSAL_MS, undefined, { signal });
  throw new IoreqdError(
    "RELOAD_FAILED",
    `what ${unit} would start did not say within ${REHEARSAL_MS / 1000} s whether it can go on: does a device's attach() hang? Nothing has happened`,
  );
}

function notOfUnit(domid: number, pid: number, unit: string): IoreqdError {
  return new IoreqdError(
    "RELOAD_FAILED",
    `process ${pid}, which serves domain ${domid}, is confined, so it can't start another, and it is not the main process of ${unit}, so systemd can't either: end it with SIGKILL, and start what is to go on`,
    { domid, pid },
  );
}

function notBack(domid: number, unit: string, { activeState }: UnitState, why: string): IoreqdError {
  const tries = activeState.startsWith("activ");
  const next = tries
    ? "systemd goes on trying"
    : `its guest waits, and what its devices know is kept: mend what journalctl -u ${unit} says, then systemctl start ${unit}; or give the devices up: ioreqd abandon ${domid}`;
  return new IoreqdError("RELOAD_FAILED", `${unit} was restarted and does not serve domain ${domid}: ${why}; ${next}`, {
    domid,
    unit,
  });
}
