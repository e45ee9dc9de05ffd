// SPDX-License-Identifier: MIT
/** Starts a lab: its directory, its keeper, and dom0 up to the point where xl works. */

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { IoreqdError } from "../../../src/base/errors.js";
import type { Dom0Image } from "./dom0-image.js";
import { Dom0 } from "./dom0.js";
import { KEPT_LAB, labFiles, programOf } from "./lab-files.js";
import { qemuArguments } from "./qemu.js";

export interface Lab {
  readonly dom0: Dom0;
  /** Let it run when this process ends. */
  keep(): void;
  stop(): Promise<void>;
}

/** Four times what it takes on two idle cores. */
const BOOT_MS = 240_000;

/** Boots, and waits for systemd to have started everything. `logs`: where the keeper leaves them. */
export async function bootLab(image: Dom0Image, logs: string): Promise<Lab> {
  const directory = mkdtempSync(path.join(os.tmpdir(), "ioreqd-lab-"));
  const files = labFiles(directory);
  for (const name of [files.consoles, files.transfer]) mkdirSync(name, { recursive: true });
  writeFileSync(files.plan, JSON.stringify(qemuArguments(image, files)));
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
  const stop = async () => {
    await dom0.endLab();
    await ended;
  };
  try {
    const state = await dom0.sh("systemctl is-system-running --wait", { timeoutMs: BOOT_MS, check: false });
    if (!/^(running|degraded)/.test(state.stdout)) {
      throw new IoreqdError("LAB_BOOT_FAILED", `systemd in dom0 says: ${state.stdout}${state.stderr}`);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    dom0,
    stop,
    keep: () => {
      writeFileSync(KEPT_LAB, directory);
      keeper.stdin.end("keep\n");
      keeper.unref();
    },
  };
}

async function connectSoon(directory: string): Promise<Dom0> {
  for (let tries = 0; ; tries++) {
    try {
      return await Dom0.connect(directory);
    } catch (error) {
      if (tries === 100) throw error;
      await pause(100);
    }
  }
}

/** The lab that this clone keeps, or null. */
export async function keptLab(): Promise<Dom0 | null> {
  if (!existsSync(KEPT_LAB)) return null;
  try {
    return await Dom0.connect(readFileSync(KEPT_LAB, "utf8"));
  } catch {
    rmSync(KEPT_LAB, { force: true });
    return null;
  }
}
