// SPDX-License-Identifier: MIT
/** ioreqd as dom0 gets it: the Debian package that `npm run package` builds. */

import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { IoreqdError } from "../../../src/base/errors.js";
import { command } from "./command.js";
import type { Dom0 } from "./dom0.js";
import { ROOT } from "./lab-files.js";

/** Where the package is in dom0, for suites that remove it. */
export const PACKAGE = "/share/ioreqd.deb";
/** Where the guest's boot disk is in dom0. */
export const GUEST_DISK = "/var/lib/ioreqd-lab/guest.img";
/** The same with `pcie_ports=native`. */
export const NATIVE_DISK = "/var/lib/ioreqd-lab/native.img";
/** What is on it, for guests that boot without firmware; the kernel unpacked, as xl would have to do it inside the emulation. */
export const GUEST_KERNEL = "/share/vmlinux";
export const GUEST_INITRAMFS = "/var/lib/ioreqd-lab/initramfs";

/** The line of an xl config by which a guest gets ioreqd-dm. */
export const OVERRIDE = 'device_model_override = "/usr/lib/ioreqd/bin/ioreqd-dm"';

/** Builds the package; its file. */
export async function preparePackage(step: (what: string) => void): Promise<string> {
  step("building ioreqd's package");
  await command("npm", ["run", "--silent", "package"], { cwd: ROOT });
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

/** Install it, or put it in the place of the one that is there. What it depends on is in the image. */
export async function installPackage(dom0: Dom0, file: string, step: (what: string) => void): Promise<void> {
  step(`installing ${path.basename(file)} in dom0`);
  await repack(file, path.join(dom0.files.share, path.basename(PACKAGE)));
  // A disk that is thrown away need not be synchronised.
  await dom0.sh(`DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io -i ${PACKAGE}`, { timeoutMs: 300_000 });
}

/** The same package without compression: unpacking xz inside the emulation takes longer than all the rest of dpkg. */
async function repack(file: string, target: string): Promise<void> {
  const tree = mkdtempSync(path.join(os.tmpdir(), "ioreqd-lab-package-"));
  try {
    await command("dpkg-deb", ["--raw-extract", file, tree]);
    await command("dpkg-deb", ["--build", "--root-owner-group", "-Znone", tree, target]);
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}
