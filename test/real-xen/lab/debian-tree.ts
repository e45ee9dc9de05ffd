// SPDX-License-Identifier: MIT
/** A freshly installed Debian, as an archive, with the packages that are only taken apart. */

import { mkdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { IoreqdError } from "../../../src/base/errors.js";
import { cached, digestOf, newestCached } from "./cache.js";
import { command } from "./command.js";
import type { DebianRelease } from "./debian.js";
import { LAB_SOURCES } from "./lab-files.js";

export interface DebianTree {
  readonly directory: string;
  /** A tar archive of dom0's root. */
  readonly root: string;
  /** A directory with the hypervisor's, the kernel's and busybox's packages. */
  readonly packages: string;
}

export const MIRROR = process.env["IOREQD_DEBIAN_MIRROR"] ?? "http://deb.debian.org/debian";

/** From the cache, or installed: about a minute, and it needs root and a network. */
export async function debianTree(release: DebianRelease, step: (what: string) => void): Promise<DebianTree> {
  const kind = `debian-${release.codename}`;
  const published = await releaseFile(release);
  const newest = newestCached(kind);
  if (published === null && newest !== null) {
    step(`the mirror ${MIRROR} did not answer: taking the newest Debian ${release.version} that is in the cache`);
    return describe(newest);
  }
  const sources = ["debian.ts", "debian-tree.ts"].map((name) => path.join(LAB_SOURCES, name));
  const directory = await cached(kind, digestOf([MIRROR, published ?? ""], sources), (unfinished) => {
    step(`installing Debian ${release.version} (${release.codename}) for dom0`);
    return install(release, describe(unfinished));
  });
  return describe(directory);
}

/** The release's own signed list of what is in it, which changes with each point release; null without a network. */
async function releaseFile(release: DebianRelease): Promise<string | null> {
  const file = path.join(os.tmpdir(), `ioreqd-lab-inrelease-${process.pid}`);
  try {
    const url = `${MIRROR}/dists/${release.codename}/InRelease`;
    await command("/usr/lib/apt/apt-helper", ["download-file", url, file], { timeoutMs: 60_000 });
    return readFileSync(file, "utf8");
  } catch {
    return null;
  } finally {
    rmSync(file, { force: true });
  }
}

function describe(directory: string): DebianTree {
  return { directory, root: path.join(directory, "root.tar"), packages: path.join(directory, "packages") };
}

async function install(release: DebianRelease, { root, packages }: DebianTree): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new IoreqdError("LAB_NEEDS_ROOT", "building dom0's image (mmdebstrap) needs root: run it once as root");
  }
  mkdirSync(packages);
  const apt = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"';
  // linux-image-amd64 is an empty package that depends on the current kernel.
  const kernel = `$(${apt} apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -n 1)`;
  const download = `apt-get -q -o APT::Sandbox::User=root download ${release.hypervisor} busybox-static ${kernel}`;
  await command("mmdebstrap", [
    ...["--mode=root", "--variant=minbase", "--format=tar", `--include=${release.dom0Packages.join(",")}`],
    "--aptopt=APT::Install-Recommends false",
    ...["doc", "man", "locale", "info"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    `--customize-hook=cd '${packages}' && ${apt} ${download}`,
    // Packages installed later are to be whole.
    "--customize-hook=rm -f $1/etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    ...[release.codename, root, `deb ${MIRROR} ${release.codename} main`],
  ]);
}
