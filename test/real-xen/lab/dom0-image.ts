// SPDX-License-Identifier: MIT
/** Xen, dom0's kernel, its initramfs and its disk: a small, real Debian that the host's own system never sees. */

import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { IoreqdError } from "../../../src/base/errors.js";
import { cached, digestOf } from "./cache.js";
import { command } from "./command.js";
import { packInitramfs } from "./cpio.js";
import { type DebianRelease, DOM0_MODULES, GUEST_MODULES, INITRAMFS_MODULES } from "./debian.js";
import { type DebianTree, debianTree } from "./debian-tree.js";
import { configureDom0 } from "./dom0-tree.js";
import { Modules, vmlinuxOf } from "./kernel.js";
import { LAB_SOURCES } from "./lab-files.js";

export interface Dom0Image {
  readonly directory: string;
  readonly xen: string;
  readonly vmlinux: string;
  readonly initramfs: string;
  readonly disk: string;
  /** For the guest: the same kernel as a bzImage, and a tree with busybox, lspci, setpci and modules. */
  readonly vmlinuz: string;
  readonly guestTree: string;
  /** Names and versions of what is in it. */
  readonly versions: string;
}

/** What goes into it, besides Debian. */
const SOURCES = ["debian.ts", "dom0-image.ts", "dom0-tree.ts", "kernel.ts", "cpio.ts", "dom0"];

/** Room for what tests install and write, on top of what is there. */
const ROOM_MB = 700;

/** From the cache, or built on top of `debianTree`, which takes longer: this needs root and a quarter of a minute. */
export async function dom0Image(release: DebianRelease, step: (what: string) => void): Promise<Dom0Image> {
  const debian = await debianTree(release, step);
  const files = SOURCES.map((name) => path.join(LAB_SOURCES, name));
  const digest = digestOf([path.basename(debian.directory)], files);
  const directory = await cached(`dom0-${release.codename}`, digest, (unfinished) => {
    step("Xen, dom0's kernel, initramfs and disk");
    return build(release, debian, unfinished);
  });
  return describe(directory);
}

function describe(directory: string): Dom0Image {
  const file = (name: string) => path.join(directory, name);
  return {
    directory,
    xen: file("xen"),
    vmlinux: file("vmlinux"),
    initramfs: file("initramfs.gz"),
    disk: file("dom0.img"),
    vmlinuz: file("vmlinuz"),
    guestTree: file("guest-tree"),
    versions: file("versions"),
  };
}

async function build(release: DebianRelease, debian: DebianTree, directory: string): Promise<void> {
  const image = describe(directory);
  const work = path.join(directory, "work");
  const root = path.join(work, "root");
  mkdirSync(root, { recursive: true });
  await command("tar", ["-C", root, "--numeric-owner", "-xf", debian.root]);
  for (const file of readdirSync(debian.packages)) {
    await command("dpkg-deb", ["-x", path.join(debian.packages, file), path.join(work, file.replace(/_.*/, ""))]);
  }
  const kernelRoot = path.join(work, only(readdirSync(work), /^linux-image-/));
  const kernelBoot = path.join(kernelRoot, "boot");
  const xenBoot = path.join(work, release.hypervisor, "boot");
  const xen = only(readdirSync(xenBoot), /^xen-.*-amd64\.gz$/);
  writeFileSync(image.xen, gunzipSync(readFileSync(path.join(xenBoot, xen))));
  cpSync(path.join(kernelBoot, only(readdirSync(kernelBoot), /^vmlinuz-/)), image.vmlinuz);
  writeFileSync(image.vmlinux, await vmlinuxOf(image.vmlinuz));
  const modules = await Modules.open(kernelRoot);
  const busybox = path.join(work, "busybox-static");

  const early = path.join(work, "early");
  await copyBusybox(busybox, early);
  for (const name of ["dev", "proc", "sys", "root"]) mkdirSync(path.join(early, name));
  cpSync(path.join(LAB_SOURCES, "dom0/initramfs-init"), path.join(early, "init"));
  chmodSync(path.join(early, "init"), 0o755);
  writeFileSync(path.join(early, "modules"), `${INITRAMFS_MODULES.join("\n")}\n`);
  await modules.copy(INITRAMFS_MODULES, early);
  writeFileSync(image.initramfs, packInitramfs(early));

  await copyBusybox(busybox, image.guestTree);
  for (const program of ["lspci", "setpci"]) await copyProgram(root, `/usr/bin/${program}`, image.guestTree);
  await modules.copy(GUEST_MODULES, image.guestTree);

  await modules.copy([...DOM0_MODULES, ...INITRAMFS_MODULES], root);
  await configureDom0(root);
  writeFileSync(image.versions, [xen, `Linux ${modules.release}`, await installed(root), ""].join("\n"));
  const megabytes = Number((await command("du", ["-sm", root])).toString().split("\t")[0]) + ROOM_MB;
  await command("mkfs.ext4", ["-q", "-O", "^has_journal", "-L", "dom0", "-d", root, image.disk, `${megabytes}M`]);
  rmSync(work, { recursive: true, force: true });
}

/** busybox with a link for each of its commands. */
async function copyBusybox(busybox: string, tree: string): Promise<void> {
  const bin = path.join(tree, "bin");
  mkdirSync(bin, { recursive: true });
  cpSync(
    path.join(busybox, existsSync(path.join(busybox, "bin/busybox")) ? "bin/busybox" : "usr/bin/busybox"),
    path.join(bin, "busybox"),
  );
  const applets = (await command(path.join(bin, "busybox"), ["--list"])).toString().trim().split("\n");
  for (const applet of applets) if (applet !== "busybox") symlinkSync("busybox", path.join(bin, applet));
}

/** A program of dom0's tree with its libraries, and lspci's names of vendors and devices. */
async function copyProgram(root: string, program: string, tree: string): Promise<void> {
  const listed = (await command("chroot", [root, "ldd", program])).toString();
  const libraries = [...listed.matchAll(/(\/\S+\.so\S*) \(/g)].map((match) => match[1] as string);
  for (const file of [program, ...libraries, "/usr/share/misc/pci.ids"]) {
    const target = path.join(tree, file === program ? path.join("bin", path.basename(program)) : file);
    rmSync(target, { force: true });
    mkdirSync(path.dirname(target), { recursive: true });
    cpSync(path.join(root, file), target, { dereference: true });
  }
}

async function installed(root: string): Promise<string> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own fields.
  const format = "${Package} ${Version}\\n";
  const database = path.join(root, "var/lib/dpkg");
  return (await command("dpkg-query", ["--admindir", database, "-W", "-f", format])).toString();
}

function only(names: readonly string[], pattern: RegExp): string {
  const found = names.filter((name) => pattern.test(name));
  if (found.length !== 1 || found[0] === undefined) {
    throw new IoreqdError("LAB_KERNEL_UNKNOWN", `one name should match ${pattern}, of: ${names.join(", ")}`);
  }
  return found[0];
}
