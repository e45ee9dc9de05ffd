// SPDX-License-Identifier: MIT
/** How QEMU is told to be a machine on which Xen boots. docs/real-xen.md says why each of these is as it is. */

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
