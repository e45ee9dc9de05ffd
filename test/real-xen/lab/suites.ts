// SPDX-License-Identifier: MIT
/** The suites, run by jest in a process of its own and one after the other: there is one machine. */

import { spawn } from "node:child_process";
import path from "node:path";
import type { Dom0 } from "./dom0.js";
import { ROOT } from "./lab-files.js";
import { step } from "./progress.js";

/** Whether all passed. `only`: a pattern for file names. */
export function runSuites(dom0: Dom0, only: string | undefined, signal: AbortSignal): Promise<boolean> {
  step(`running the suites${only === undefined ? "" : ` matching ${only}`}`);
  const jest = path.join(ROOT, "node_modules/jest/bin/jest.js");
  const args = [jest, "--config", path.join(ROOT, "jest.real-xen.config.cjs"), "--runInBand"];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args, ...(only === undefined ? [] : [only])], {
      cwd: ROOT,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, IOREQD_LAB: dom0.files.directory },
      signal,
    });
    child.on("error", reject);
    child.on("exit", (status) => resolve(status === 0));
  });
}
