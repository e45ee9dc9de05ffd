// SPDX-License-Identifier: MIT
/** Our compiled tests in dom0, and the package's Node.js to run them. */

import path from "node:path";
import { command } from "./lab/command.js";
import type { Dom0 } from "./lab/dom0.js";
import { ROOT } from "./lab/lab-files.js";

const PLACE = "/var/lib/ioreqd-lab/tests";
/** The one that the package brings. */
export const NODE = "/usr/lib/ioreqd/runtime/bin/node";

/** Of node_modules: what neither jest nor ioreqd's code loads, and is large. */
const LEFT_OUT = ["typescript", "@typescript", "@biomejs", "@types", "node-api-headers", ".cache"];

/**
 * Put the compiled tree into dom0, and with `jest` also what it takes to run test files there.
 * The directory: it looks like this repository.
 */
export async function putTests(dom0: Dom0, { jest }: { readonly jest: boolean }): Promise<string> {
  const archive = path.join(ROOT, `build/tests-${process.pid}.tar`);
  const leave = [...LEFT_OUT.map((name) => `node_modules/${name}`), "*.d.ts", "*.map"];
  const tree = ["dist/src", "dist/test", "package.json"];
  if (jest) tree.push("node_modules", "native/build", "jest.config.cjs");
  await command("tar", ["-cf", archive, ...leave.map((name) => `--exclude=${name}`), "-C", ROOT, ...tree]);
  await dom0.put(archive, `${PLACE}.tar`);
  await command("rm", ["-f", archive]);
  await dom0.sh(`rm -rf ${PLACE} && mkdir -p ${PLACE} && tar -C ${PLACE} -xf ${PLACE}.tar && rm ${PLACE}.tar`, {
    timeoutMs: 600_000,
  });
  return PLACE;
}
