// SPDX-License-Identifier: MIT
/** What the lab needs of the host, by the names of Debian's packages. */

import { accessSync, constants, existsSync } from "node:fs";
import path from "node:path";
import { IoreqdError } from "../../../src/base/errors.js";
import { command } from "./command.js";

/** A program or a file, and the package that has it. */
const NEEDED: ReadonlyArray<readonly [what: string, debian: string]> = [
  ["qemu-system-x86_64", "qemu-system-x86"],
  ["mmdebstrap", "mmdebstrap"],
  ["/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"],
  ["mkfs.ext4", "e2fsprogs"],
  ["mkfs.vfat", "dosfstools"],
  ["mcopy", "mtools"],
  ["syslinux", "syslinux"],
  ["depmod", "kmod"],
  ["xz", "xz-utils"],
  ["zstd", "zstd"],
  ["dpkg-deb", "dpkg"],
  ["dpkg-shlibdeps", "dpkg-dev"],
  ["strip", "binutils"],
  ["setpriv", "util-linux"],
  ["cc", "gcc"],
  ["/usr/include/stdio.h", "libc6-dev"],
];

/** Debian keeps administrators' programs where a user's PATH does not lead. */
const EXTRA_PATH = ["/usr/sbin", "/sbin"];

/** Names what is missing (LAB_PACKAGES_MISSING), or installs it. */
export async function prerequisites(install: boolean, step: (what: string) => void): Promise<void> {
  process.env["PATH"] = [process.env["PATH"], ...EXTRA_PATH].join(":");
  const missing = missingPackages();
  if (missing.length === 0) return;
  const line = `apt-get install --no-install-recommends ${missing.join(" ")}`;
  if (!install) {
    throw new IoreqdError("LAB_PACKAGES_MISSING", `the lab needs Debian packages: ${line} (or give --install)`);
  }
  step(line);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  await command("apt-get", ["update", "-qq"], { env });
  await command("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...missing], { env });
  const still = missingPackages();
  if (still.length > 0)
    throw new IoreqdError("LAB_PACKAGES_MISSING", `still missing after ${line}: ${still.join(" ")}`);
}

function missingPackages(): string[] {
  const there = (what: string) => (what.startsWith("/") ? existsSync(what) : isProgram(what));
  return NEEDED.filter(([what]) => !there(what)).map(([, debian]) => debian);
}

function isProgram(name: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((directory) => {
    try {
      accessSync(path.join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
