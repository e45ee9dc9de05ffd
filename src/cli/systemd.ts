// SPDX-License-Identifier: MIT
/** What systemd knows of a unit, by systemctl: it also works where no D-Bus daemon runs. */

import { execFile } from "node:child_process";
import { IoreqdError } from "../base/errors.js";

/** A start may take TimeoutStopSec= and TimeoutStartSec= of the unit. In ms. */
const TIMEOUT_MS = 120_000;

export interface UnitState {
  /** 0 where no process of the unit runs. */
  readonly mainPid: number;
  /** "active", "failed", "activating", …. Source: org.freedesktop.systemd1(5), ActiveState. */
  readonly activeState: string;
  /** What the unit starts: the program, and its arguments. */
  readonly command: readonly string[];
  /** When it last ceased to be active, and became so again: in ms of CLOCK_MONOTONIC. */
  readonly activeExit: number;
  readonly activeEnter: number;
}

/** What `restart` says where it failed; null where the unit is active again. */
export type RestartFailure = string | null;

/** Throws RELOAD_FAILED where systemd can't be asked. */
export async function unitState(unit: string): Promise<UnitState> {
  const names = [
    "MainPID",
    "ActiveState",
    "ExecStart",
    "ActiveExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
  ];
  const { failed, stdout } = await systemctl("show", ...names.flatMap((name) => ["-p", name]), unit);
  if (failed !== null) {
    throw new IoreqdError("RELOAD_FAILED", `systemctl show ${unit}: ${failed}; reload it as root, where systemd runs`);
  }
  const values = new Map(
    stdout.split("\n").map((line): [string, string] => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
  const ms = (name: string): number => Number(values.get(name)) / 1000;
  return {
    mainPid: Number(values.get("MainPID")),
    activeState: values.get("ActiveState") ?? "",
    command: commandOf(values.get("ExecStart") ?? ""),
    activeExit: ms("ActiveExitTimestampMonotonic"),
    activeEnter: ms("ActiveEnterTimestampMonotonic"),
  };
}

/** Resolves when the unit is active again, or will not be by this. */
export async function restartUnit(unit: string): Promise<RestartFailure> {
  // Somebody who reloads again and again must not come upon StartLimitBurst= between the stop and the start.
  await systemctl("reset-failed", unit);
  return (await systemctl("restart", unit)).failed;
}

/** "{ path=/bin/x ; argv[]=/bin/x run --domid 1 ; ignore_errors=no ; … }": arguments with a blank in them are not told apart. */
function commandOf(execStart: string): string[] {
  const [, path, argv = ""] = /path=(.*?) ; argv\[\]=(.*?) ; ignore_errors=/.exec(execStart) ?? [];
  return path === undefined ? [] : [path, ...argv.split(" ").slice(1)];
}

function systemctl(...argv: string[]): Promise<{ failed: string | null; stdout: string }> {
  return new Promise((resolve) => {
    execFile("systemctl", argv, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      const why = stderr.trim().split("\n")[0];
      resolve({ failed: error === null ? null : why || error.message, stdout });
    });
  });
}
