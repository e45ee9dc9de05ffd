// SPDX-License-Identifier: MIT
/** Starts a lab: its directory, its keeper, and dom0 up to the point where xl works. */

import { spawn } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { IoreqdError } from "../../../src/base/errors.js";
import { Dom0 } from "./dom0.js";
import type { Dom0Image } from "./dom0-image.js";
import { collectLogs } from "./evidence.js";
import { CURRENT_LABS, labFiles, programOf } from "./lab-files.js";
import { qemuArguments } from "./qemu.js";

export interface Machine {
  readonly image: Dom0Image;
  readonly dom0Cpus: number;
  /** For the xl config of every guest. */
  readonly guestLines: string;
}

export interface Lab {
  readonly dom0: Dom0;
  /** Let it run on when this process ends. */
  keep(): void;
  stop(): Promise<void>;
}

/** Four times what it takes on two idle cores, and more. */
const BOOT_MS = 240_000;
const KEEPER_MS = 20_000;
const POLL_MS = 50;

/** Boots, and waits for systemd to have started everything. `logs`: where the keeper leaves them. */
export async function bootLab(machine: Machine, logs: string): Promise<Lab> {
  const { image, dom0Cpus } = machine;
  const directory = mkdtempSync(path.join(os.tmpdir(), "ioreqd-lab-"));
  const files = labFiles(directory);
  for (const name of [files.consoles, files.transfer]) mkdirSync(name, { recursive: true });
  // For guests that boot without firmware.
  copyFileSync(image.vmlinux, path.join(files.share, "vmlinux"));
  writeFileSync(files.plan, JSON.stringify(qemuArguments(image, files, dom0Cpus)));
  writeFileSync(files.guestLines, machine.guestLines);
  // A group of its own: Ctrl-C is for us, and we tell the keeper by closing its input.
  const keeper = spawn(process.execPath, [programOf("keeper.js"), directory, logs], {
    stdio: ["pipe", "inherit", "inherit"],
    detached: true,
  });
  const ended = new Promise<void>((resolve) => {
    keeper.on("exit", () => {
      rmSync(directory, { recursive: true, force: true }); // the keeper has done so, unless it was killed
      resolve();
    });
  });
  const dom0 = await connectSoon(directory);
  // Also for one that is not to be kept: the shell is of use while suites run.
  mkdirSync(path.dirname(CURRENT_LABS), { recursive: true });
  appendFileSync(CURRENT_LABS, `${directory}\n`);
  const stop = async () => {
    await dom0.endLab();
    await ended;
  };
  try {
    await systemdUp(dom0);
  } catch (error) {
    await stop();
    throw error;
  }
  const keep = () => {
    keeper.stdin.end("keep\n");
    keeper.unref();
  };
  return { dom0, stop, keep };
}

/** The keeper listens within moments. */
async function connectSoon(directory: string): Promise<Dom0> {
  for (const deadline = Date.now() + KEEPER_MS; ; ) {
    try {
      return await Dom0.connect(directory);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await pause(POLL_MS);
    }
  }
}

async function systemdUp(dom0: Dom0): Promise<void> {
  const { stdout, stderr } = await dom0.sh("systemctl is-system-running --wait", { timeoutMs: BOOT_MS, check: false });
  // "degraded" is for a suite to complain about: it can say which unit failed.
  if (!/^(running|degraded)$/m.test(stdout)) {
    throw new IoreqdError("LAB_BOOT_FAILED", `systemd in dom0 says: ${stdout}${stderr}`);
  }
}

/** The labs that this clone runs. */
export async function currentLabs(): Promise<Dom0[]> {
  const known = existsSync(CURRENT_LABS) ? readFileSync(CURRENT_LABS, "utf8").trim().split("\n") : [];
  const found = await Promise.all(known.map((directory) => Dom0.connect(directory).catch(() => null)));
  const alive = found.filter((dom0) => dom0 !== null);
  if (alive.length === 0) rmSync(CURRENT_LABS, { force: true });
  return alive;
}

/** The first of them, or null. */
export async function currentLab(): Promise<Dom0 | null> {
  const [first = null, ...others] = await currentLabs();
  for (const other of others) other.close();
  return first;
}

/** Throws LAB_RUNS when this clone has one. */
export async function refuseSecond(): Promise<void> {
  const other = await currentLab();
  if (other === null) return;
  other.close();
  throw new IoreqdError("LAB_RUNS", "this clone has a lab already: --reuse it, or --stop it first");
}

/** The lab that this clone runs, without the guests and daemons of an earlier run. Throws LAB_GONE. */
export async function reuseLab(logs: string): Promise<Lab> {
  const dom0 = await currentLab();
  if (dom0 === null) throw new IoreqdError("LAB_GONE", "this clone runs no lab: start one with --keep");
  await dom0.endGuests();
  await dom0.sh("systemctl stop 'ioreqd*'; systemctl reset-failed 'ioreqd*'", { check: false });
  const leave = () => {
    collectLogs(dom0.files, logs);
    dom0.close();
  };
  return { dom0, keep: leave, stop: async () => leave() };
}
