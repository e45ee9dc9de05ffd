// SPDX-License-Identifier: MIT
/** What a guest boots: Debian's kernel, and an initramfs with what test/real-xen/guest brings, on a disk or as files. */

import { chmodSync, cpSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { cached, digestOf } from "./cache.js";
import { command } from "./command.js";
import { packInitramfs } from "./cpio.js";
import type { Dom0Image } from "./dom0-image.js";
import { GUEST_SOURCES, LAB_SOURCES } from "./lab-files.js";

/** hvc0 is the PV console: an emulated UART costs a millisecond a character here. */
export const COMMAND_LINE = [
  ...["console=hvc0", "rdinit=/init", "loglevel=5", "mitigations=off", "tsc=reliable", "iomem=relaxed"],
  // What takes time here, and is not what any test is about.
  ...["nokaslr", "init_on_alloc=0", "cryptomgr.notests", "apparmor=0"],
].join(" ");
/**
 * On the disks: the kernel is given less memory than the domain has. What is above belongs to nobody, and tests may use it
 * for DMA through /dev/mem. Where there is no firmware the kernel itself would place BARs there.
 */
const GUEST_MEM_MB = 112;
const ON_DISK = `${COMMAND_LINE} mem=${GUEST_MEM_MB}M`;

const syslinuxConfig = (commandLine: string): string => `DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
 KERNEL vmlinuz
 INITRD initramfs
 APPEND ${commandLine}
`;

/** Firmware of an HVM guest does not grant PCI Express hot-plug; with this Linux takes it. */
const NATIVE = "pcie_ports=native";

/** Files of disks: as Linux is, and with hot-plug of PCI Express in the kernel's own hands. And what is on them. */
export interface GuestFiles {
  readonly plain: string;
  readonly native: string;
  readonly initramfs: string;
}

/** From the cache or built. `modules`: a directory of .ko files, which go to the guest's /lib. */
export async function guestFiles(dom0: Dom0Image, modules: string, step: (what: string) => void): Promise<GuestFiles> {
  const names = [dom0.directory, modules].map((directory) => path.basename(directory));
  const digest = digestOf(names, [path.join(LAB_SOURCES, "guest-image.ts"), GUEST_SOURCES]);
  const directory = await cached("guest", digest, (unfinished) => {
    step("the guest's initramfs and disk");
    return build(dom0, modules, unfinished);
  });
  const file = (name: string) => path.join(directory, name);
  return { plain: file("guest.img"), native: file("native.img"), initramfs: file("initramfs") };
}

async function build(dom0: Dom0Image, modules: string, directory: string): Promise<void> {
  const tree = path.join(directory, "tree");
  cpSync(dom0.guestTree, tree, { recursive: true, verbatimSymlinks: true });
  for (const name of ["dev", "proc", "sys", "tmp", "etc"]) mkdirSync(path.join(tree, name), { recursive: true });
  for (const file of readdirSync(GUEST_SOURCES).filter((name) => name.endsWith(".c"))) {
    const program = path.join(tree, "bin", path.basename(file, ".c"));
    rmSync(program, { force: true });
    await command("cc", ["-static", "-O2", "-Wall", "-pthread", "-o", program, path.join(GUEST_SOURCES, file)]);
  }
  for (const name of readdirSync(modules)) cpSync(path.join(modules, name), path.join(tree, "lib", name));
  cpSync(path.join(GUEST_SOURCES, "init"), path.join(tree, "init"));
  chmodSync(path.join(tree, "init"), 0o755);
  const initramfs = path.join(directory, "initramfs");
  writeFileSync(initramfs, packInitramfs(tree));
  rmSync(tree, { recursive: true });

  // A FAT file system without partitions, which SeaBIOS reads with DMA: much faster than QEMU's own `kernel=`.
  const syslinux = path.join(directory, "syslinux.cfg");
  writeFileSync(syslinux, syslinuxConfig(ON_DISK));
  const files = { "syslinux.cfg": syslinux, vmlinuz: dom0.vmlinuz, initramfs };
  const megabytes = Object.values(files).reduce((sum, file) => sum + statSync(file).size / 1e6, 4);
  const disk = path.join(directory, "guest.img");
  writeFileSync(disk, "");
  await command("truncate", ["-s", `${Math.ceil(megabytes)}M`, disk]);
  await command("mkfs.vfat", ["-n", "GUEST", disk]);
  for (const [name, file] of Object.entries(files)) await command("mcopy", ["-i", disk, file, `::${name}`]);
  await command("syslinux", ["--install", disk]);
  const native = path.join(directory, "native.img");
  cpSync(disk, native);
  writeFileSync(syslinux, syslinuxConfig(`${ON_DISK} ${NATIVE}`));
  await command("mcopy", ["-o", "-i", native, syslinux, "::syslinux.cfg"]);
}
