// SPDX-License-Identifier: MIT
/** node dist/test/real-xen/lab/shell.js COMMAND…: a command in dom0 of this clone's (first) lab, with its exit status. */

import { messageOf } from "../../../src/base/errors.js";
import { currentLab } from "./boot.js";

async function main(): Promise<number> {
  const dom0 = await currentLab();
  if (dom0 === null) {
    process.stderr.write("This clone runs no lab: npm run test:xen -- --keep\n");
    return 1;
  }
  try {
    const { status } = await dom0.sh(process.argv.slice(2).join(" "), {
      check: false,
      timeoutMs: 3_600_000,
      onOutput: (text, stream) => process[stream].write(text),
    });
    return status;
  } finally {
    dom0.close();
  }
}

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exitCode = 1;
  },
);
