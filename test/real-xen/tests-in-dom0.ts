// SPDX-License-Identifier: MIT
/** Our compiled tests in dom0, and the package's Node.js to run them. */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { digestOf } from "./lab/cache.js";
import { command } from "./lab/command.js";
import type { Dom0 } from "./lab/dom0.js";
import { ROOT } from "./lab/lab-files.js";

/** The one that the package brings. */
export const NODE = "/usr/lib/ioreqd/runtime/bin/node";

const PROGRAMS = ["dist/src", "dist/test", "package.json"];
/** With jest, and what it loads. */
const SUITES = [...PROGRAMS, "node_modules", "native/build", "jest.config.cjs"];
/** Of it: what neither jest nor ioreqd's code loads, and is large. */
const LEFT_OUT = [
  ...["typescript", "@typescript", "@biomejs", "@types", "@esbuild", "esbuild", "node-api-headers", ".cache"].map(
    (name) => `node_modules/${name}`,
  ),
  ...["*.d.ts", "*.d.mts", "*.d.cts", "*.map", "*.md"],
];

/**
 * Have the compiled tree in dom0, and with `jest` also what it takes to run test files there. The directory: it looks like
 * this repository. It is an image that is mounted, for unpacking thousands of files takes the emulation a minute.
 */
export async function putTests(dom0: Dom0, { jest }: { readonly jest: boolean }): Promise<string> {
  // Of node_modules the lock file knows all.
  const parts = jest ? ["dist", "native/build", "package-lock.json"] : ["dist"];
  const digest = digestOf(
    [],
    parts.map((name) => path.join(ROOT, name)),
  );
  const place = `/run/ioreqd-lab/tests-${digest}`;
  const { status } = await dom0.sh(`mountpoint -q ${place}`, { check: false });
  if (status === 0) return place;
  const name = `tests-${digest}.img`;
  await buildImage(jest ? SUITES : PROGRAMS, path.join(dom0.files.transfer, name));
  await dom0.sh(`mkdir -p ${place} && mount -o loop,ro /share/transfer/${name} ${place}`);
  return place;
}

async function buildImage(parts: readonly string[], image: string): Promise<void> {
  const work = mkdtempSync(path.join(os.tmpdir(), "ioreqd-lab-tests-"));
  try {
    const [archive, tree] = [path.join(work, "tests.tar"), path.join(work, "tree")];
    mkdirSync(tree);
    await command("tar", ["-cf", archive, ...LEFT_OUT.map((name) => `--exclude=${name}`), "-C", ROOT, ...parts]);
    await command("tar", ["-xf", archive, "-C", tree]);
    const megabytes = Number((await command("du", ["-sm", tree])).toString().split("\t")[0]);
    await command("mkfs.ext4", ["-q", "-O", "^has_journal", "-m", "0", "-d", tree, image, `${megabytes * 2 + 16}M`]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
