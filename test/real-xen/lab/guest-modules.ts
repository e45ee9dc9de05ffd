// SPDX-License-Identifier: MIT
/** Kernel modules of test/real-xen/guest/modules, built for the guest's kernel. */

import { mkdirSync, readdirSync } from "node:fs";
import path from "node:path";
import { IoreqdError } from "../../../src/base/errors.js";
import { cached, digestOf } from "./cache.js";
import { command } from "./command.js";
import type { DebianRelease } from "./debian.js";
import { MIRROR } from "./debian-tree.js";
import type { Dom0Image } from "./dom0-image.js";
import { GUEST_SOURCES, LAB_SOURCES } from "./lab-files.js";

const SOURCES = path.join(GUEST_SOURCES, "modules");
/** Where they are built, in a Debian that is thrown away. */
const PLACE = "/build";

/** The directory with the .ko files, from the cache or built: a minute, and it needs root and a network. */
export async function guestModules(
  release: DebianRelease,
  dom0: Dom0Image,
  step: (what: string) => void,
): Promise<string> {
  const kernel = kernelOf(dom0);
  const digest = digestOf([kernel], [path.join(LAB_SOURCES, "guest-modules.ts"), SOURCES]);
  return cached(`modules-${release.codename}`, digest, (unfinished) => {
    step(`the guest's modules, for Linux ${kernel}`);
    return build(release, kernel, unfinished);
  });
}

/** The release of the guest's kernel, which is dom0's: modules for another are not loaded. */
export function kernelOf(dom0: Dom0Image): string {
  const [kernel] = readdirSync(path.join(dom0.guestTree, "lib/modules"));
  if (kernel !== undefined) return kernel;
  throw new IoreqdError("LAB_KERNEL_UNKNOWN", `${dom0.guestTree} holds no lib/modules/RELEASE`);
}

/**
 * With that release's own compiler: headers are configured for it, and an older one does not know all of its options.
 * The Debian around it exists only while mmdebstrap runs.
 */
async function build(release: DebianRelease, kernel: string, directory: string): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new IoreqdError(
      "LAB_NEEDS_ROOT",
      "building the guest's modules (mmdebstrap) needs root: run it once as root",
    );
  }
  const modules = readdirSync(SOURCES)
    .filter((name) => name.endsWith(".c"))
    .map((name) => name.replace(/c$/, "ko"));
  mkdirSync(directory, { recursive: true });
  await command("mmdebstrap", [
    ...["--mode=root", "--variant=essential", "--format=null", `--include=make,linux-headers-${kernel}`],
    "--aptopt=APT::Install-Recommends false",
    ...["doc", "man", "locale", "info"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    `--customize-hook=mkdir "$1${PLACE}" && cp '${SOURCES}'/* "$1${PLACE}"`,
    `--customize-hook=chroot "$1" make -C /lib/modules/${kernel}/build M=${PLACE} modules`,
    `--customize-hook=cd "$1${PLACE}" && cp ${modules.join(" ")} '${directory}'`,
    ...[release.codename, "/dev/null", `deb ${MIRROR} ${release.codename} main`],
  ]);
  for (const name of modules) await command("strip", ["--strip-debug", path.join(directory, name)]);
}
