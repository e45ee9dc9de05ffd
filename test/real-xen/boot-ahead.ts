// SPDX-License-Identifier: MIT
/** Before the first suite: the guest that most of them share begins to boot, which costs dom0 little and takes minutes. */

import { rmSync, writeFileSync } from "node:fs";
import type { Config } from "@jest/reporters";
import { messageOf } from "../../src/base/errors.js";
import { Dom0 } from "./lab/dom0.js";
import { labDirectory } from "./lab/lab-files.js";
import { step } from "./lab/progress.js";
import { bootMachine } from "./machine.js";

/** Resolves when the guest is there and boots. A pattern may leave out all who want it: then nothing is done. */
export default async function bootAhead(config: Config.GlobalConfig): Promise<void> {
  if (config.testPathPatterns.patterns.length > 0) return;
  const dom0 = await Dom0.connect(labDirectory());
  writeFileSync(dom0.files.booting, "");
  await new Promise<void>((resolve) => {
    const done = (): void => {
      rmSync(dom0.files.booting, { force: true });
      dom0.close();
      resolve();
    };
    bootMachine(dom0, resolve).then(done, (error: unknown) => {
      step(`the guest booted ahead did not come up, the first suite that wants it tries again: ${messageOf(error)}`);
      done();
    });
  });
}
