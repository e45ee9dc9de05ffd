// SPDX-License-Identifier: MIT
/** Outside judges that not every machine has: Xen's own headers, its xenstored and tools, the real lspci. */

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/base/place.js";

/** Where Debian's packages are: installed, or only unpacked, as .ci/run does with those that would start daemons. */
const ROOTS = ["/", join(PACKAGE_ROOT, "build", "xen-tools")];

const JUDGES = {
  "libxen-dev": () => existsSync("/usr/include/xendevicemodel.h"),
  pciutils: () => spawnSync("lspci", ["--version"]).error === undefined,
  "xen-utils": () => existsSync("/usr/include/xenctrl.h") && xenTool("xenstored") !== undefined,
  "xenstore-utils": () => xenTool("xenstore-ls") !== undefined,
};

/** The path of a program of Xen's, or undefined. */
export function xenTool(name: string): string | undefined {
  return ROOTS.flatMap((root) => [join(root, "usr", "bin"), ...xenBinaries(join(root, "usr", "lib"))])
    .map((directory) => join(directory, name))
    .find((path) => existsSync(path));
}

/** Debian keeps those of each version of Xen apart. */
function xenBinaries(lib: string): string[] {
  const names = existsSync(lib) ? readdirSync(lib) : [];
  return names.filter((name) => /^xen-\d/.test(name)).map((name) => join(lib, name, "bin"));
}

/**
 * `test`, where the Debian package is installed; elsewhere a visible skip. Under CI nothing is skipped:
 * there its absence is a failure.
 */
export function testJudgedBy(debian: keyof typeof JUDGES): typeof test {
  const skipped = !JUDGES[debian]() && process.env["CI"] === undefined;
  if (skipped) process.stderr.write(`some tests are skipped: they need Debian's ${debian} (apt install ${debian})\n`);
  return skipped ? (test.skip as typeof test) : test;
}
