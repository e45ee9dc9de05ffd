// SPDX-License-Identifier: MIT
/** Outside judges that not every machine has: Xen's own headers, the real lspci. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const JUDGES = {
  "libxen-dev": () => existsSync("/usr/include/xendevicemodel.h"),
  pciutils: () => spawnSync("lspci", ["--version"]).error === undefined,
};

/**
 * `test`, where the Debian package is installed; elsewhere a visible skip. Under CI nothing is skipped:
 * there its absence is a failure.
 */
export function testJudgedBy(debian: keyof typeof JUDGES): typeof test {
  const skipped = !JUDGES[debian]() && process.env["CI"] === undefined;
  if (skipped) process.stderr.write(`some tests are skipped: they need Debian's ${debian} (apt install ${debian})\n`);
  return skipped ? (test.skip as typeof test) : test;
}
