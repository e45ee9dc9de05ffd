// SPDX-License-Identifier: MIT
/** ioreqd as dom0 gets it: the Debian package that `npm run package` builds. */

import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { IoreqdError } from "../../../src/base/errors.js";
import { command } from "./command.js";
import type { Dom0 } from "./dom0.js";
import { ROOT } from "./lab-files.js";

/** Where the guest's boot disk is in dom0. */
export const GUEST_DISK = "/var/lib/ioreqd-lab/guest.img";

/** Builds the package; its file. */
export async function preparePackage(step: (what: string) => void): Promise<string> {
  const { scripts } = JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8"));
  if (scripts.package === undefined) return unpackaged(step);
  step("building the package");
  await command("npm", ["run", "package"], { cwd: ROOT });
  const build = path.join(ROOT, "build");
  const newest = readdirSync(build)
    .filter((name) => /^ioreqd_.*\.deb$/.test(name))
    .map((name) => path.join(build, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
  if (newest === undefined) {
    throw new IoreqdError("LAB_PACKAGE_MISSING", `npm run package left no ioreqd_*.deb in ${build}`);
  }
  return newest;
}

/** Install it, or put it in the place of the one that is there. */
export async function installPackage(dom0: Dom0, file: string, step: (what: string) => void): Promise<void> {
  step(`installing ${path.basename(file)} in dom0`);
  const place = `/var/tmp/${path.basename(file)}`;
  await dom0.put(file, place);
  if (file.endsWith(".deb")) {
    await dom0.sh(`DEBIAN_FRONTEND=noninteractive dpkg -i ${place}`, { timeoutMs: 300_000 });
  } else {
    await dom0.sh(`mkdir -p /usr/lib/ioreqd && tar -C /usr/lib/ioreqd -xf ${place}`, { timeoutMs: 300_000 });
    await dom0.sh("ln -sf /usr/lib/ioreqd/bin/ioreqd /usr/lib/ioreqd/runtime/bin/node /usr/bin/");
    await dom0.sh("cp /usr/lib/ioreqd/systemd/*.service /lib/systemd/system/ && systemctl daemon-reload");
  }
  await dom0.sh(`rm -f ${place}`);
}

/** The tree of the package in an archive, with this Node.js as its own. */
async function unpackaged(step: (what: string) => void): Promise<string> {
  step("packing the tree");
  const archive = path.join(ROOT, "build/ioreqd-tree.tar");
  mkdirSync(path.dirname(archive), { recursive: true });
  const production = (await command("npm", ["ls", "--omit=dev", "--all", "--parseable"], { cwd: ROOT })).toString();
  const modules = production
    .trim()
    .split("\n")
    .map((directory) => path.relative(ROOT, directory))
    .filter((name) => name !== "");
  const node = path.relative("/", process.execPath);
  const rename = `s,^${node.replaceAll(".", "\\.")}$,runtime/bin/node,`;
  const tree = [
    "bin",
    "systemd",
    "dist/src",
    "native/build",
    "package.json",
    "node_modules/.package-lock.json",
    ...modules,
  ];
  await command("tar", ["-cf", archive, `--transform=${rename}`, "-C", ROOT, ...tree, "-C", "/", node]);
  return archive;
}
