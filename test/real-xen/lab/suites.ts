// SPDX-License-Identifier: MIT
/** The suites, run by jest in a process of its own and one after the other: there is one machine. */

import { spawn } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import path from "node:path";
import type { Dom0 } from "./dom0.js";
import { failedSuites } from "./failures.js";
import { ROOT } from "./lab-files.js";
import { step } from "./progress.js";

/** Runs of a suite, at most. */
const TRIES = 3;

/**
 * Whether all passed. `only`: a pattern for file names.
 *
 * QEMU's emulation of SVM now and then ends a guest with a triple fault, at any instruction: Xen's dump of it has the
 * registers of Xen itself. Suites that failed while that happened are run again; a fault that is ours comes each time.
 */
export async function runSuites(dom0: Dom0, only: string | undefined, signal: AbortSignal): Promise<boolean> {
  step(`running the suites${only === undefined ? "" : ` matching ${only}`}`);
  let suites = only === undefined ? [] : [only];
  for (let left = TRIES; ; left -= 1) {
    const before = tripleFaults(dom0);
    if (await runJest(dom0, suites, signal)) return true;
    suites = failedSuites(dom0.files).map(({ file }) => file);
    if (left === 1 || suites.length === 0 || tripleFaults(dom0) === before) return false;
    const names = suites.map((file) => path.basename(file, ".js"));
    step(`a guest ended by a triple fault meanwhile: once more ${names.join(", ")}`);
    // The guest that suites share has been through what each of them does: they find it as booted, or not at all.
    await dom0.endGuests();
  }
}

/** How often a guest has ended that way, by Xen's console. */
function tripleFaults(dom0: Dom0): number {
  return readFileSync(dom0.files.serial, "latin1").match(/d\d+v\d+ Triple fault/g)?.length ?? 0;
}

function runJest(dom0: Dom0, patterns: readonly string[], signal: AbortSignal): Promise<boolean> {
  rmSync(dom0.files.failed, { force: true });
  const jest = path.join(ROOT, "node_modules/jest/bin/jest.js");
  const args = [jest, "--config", path.join(ROOT, "jest.real-xen.config.cjs"), "--runInBand"];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args, ...patterns], {
      cwd: ROOT,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, IOREQD_LAB: dom0.files.directory },
      signal,
    });
    child.on("error", reject);
    child.on("exit", (status) => resolve(status === 0));
  });
}
