// SPDX-License-Identifier: MIT
/** How QEMU is told to be a machine on which Xen boots. docs/real-xen.md says why each of these is as it is. */

import { IoreqdError } from "../../../src/base/errors.js";
import { command } from "./command.js";
import type { DebianRelease } from "./debian.js";
import type { Dom0Image } from "./dom0-image.js";
import type { LabFiles } from "./lab-files.js";

const CPU = ["EPYC", "+svm", "+npt", "-smap", "-smep", "-monitor", "-rdtscp", "check=off"];

const XEN = [
  ...["console=com1", "com1=115200,8n1", "dom0_mem=1536M,max:1536M", "dom0_vcpus_pin"],
  ...["console_timestamps=boot", "loglvl=all", "guest_loglvl=all"],
  ...["spec-ctrl=no,eager-fpu", "xpti=no", "ucode=no", "watchdog=0"],
];

/** Anything dom0's kernel trips over ends the machine: the keeper then says so, instead of waiting for an answer. */
const DOM0 = ["console=hvc0", "mitigations=off", "quiet", "loglevel=5", "rdinit=/init", "oops=panic", "panic=-1"];

/**
 * `dom0Cpus`: processors of dom0; guests have one more among them. `IOREQD_LAB_XEN`: more for Xen's command line, to try
 * something.
 */
export function qemuArguments(image: Dom0Image, files: LabFiles, dom0Cpus: number): string[] {
  const xen = [...XEN, `dom0_max_vcpus=${dom0Cpus}`, ...(process.env["IOREQD_LAB_XEN"]?.split(" ") ?? [])];
  return [
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none"],
    ...["-machine", "pc,hpet=on", "-accel", "tcg,thread=multi", "-cpu", CPU.join(",")],
    ...["-smp", String(dom0Cpus + 1), "-m", "4096"],
    ...["-kernel", image.xen, "-append", xen.join(" ")],
    ...["-initrd", `${image.vmlinux} ${DOM0.join(" ")},${image.initramfs}`],
    ...["-drive", `if=none,id=disk,file=${image.disk},format=raw,snapshot=on,cache=unsafe`],
    ...["-device", "virtio-blk-pci,drive=disk"],
    ...["-fsdev", `local,id=share,path=${files.share},security_model=none`],
    ...["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"],
    ...["-chardev", `socket,id=port,path=${files.port}`],
    ...["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port,name=ioreqd.lab"],
    ...["-serial", `file:${files.serial}`],
  ];
}

/** Of the QEMU that the host has: "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)". */
export async function qemuVersion(): Promise<string> {
  const said = (await command("qemu-system-x86_64", ["--version"])).toString();
  return /version (.*)/.exec(said)?.[1] ?? "";
}

/**
 * Lines of xl.cfg for every guest. From 9.1 on QEMU takes a guest's read of CR2 for one of CR0, which Xen answers with what
 * it knows of CR2; with nested paging that is nothing. Throws LAB_QEMU_UNFIT where Xen has only that.
 */
export function guestLines(version: string, { codename, shadowPaging }: DebianRelease): string {
  const [, major = "0", minor = "0"] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  if (Number(major) < 9 || (Number(major) === 9 && Number(minor) < 1)) return "";
  if (shadowPaging) return "hap = 0\n";
  const why = `under QEMU ${version} guests need shadow paging, which Xen of Debian ${codename} does not have`;
  throw new IoreqdError("LAB_QEMU_UNFIT", `${why}: put a QEMU before 9.1 first in PATH`);
}
