// SPDX-License-Identifier: MIT
/** The Debian releases that the lab can be: dom0 and the guest are always of the same one. */

export interface DebianRelease {
  /** As on the command line: 12. */
  readonly version: string;
  readonly codename: string;
  /** The hypervisor alone: it is taken out of its package, not installed. */
  readonly hypervisor: string;
  readonly dom0Packages: readonly string[];
  /** Whether its Xen can do without nested paging. */
  readonly shadowPaging: boolean;
}

const DOM0_PACKAGES = [
  ...["systemd-sysv", "dbus", "udev", "kmod", "pciutils", "procps", "strace", "libstdc++6"],
  ...["xenstore-utils", "qemu-system-xen", "seabios"],
];

export const RELEASES: readonly DebianRelease[] = [
  {
    version: "12",
    codename: "bookworm",
    hypervisor: "xen-hypervisor-4.17-amd64",
    dom0Packages: [...DOM0_PACKAGES, "xen-utils-4.17"],
    shadowPaging: true,
  },
  {
    version: "13",
    codename: "trixie",
    hypervisor: "xen-hypervisor-4.20-amd64",
    dom0Packages: [...DOM0_PACKAGES, "xen-utils-4.20"],
    shadowPaging: false,
  },
];

/** Modules of dom0's kernel: Xen's device nodes, back ends that xl may want, and what the lab is reached by. */
export const DOM0_MODULES = [
  ...["xen-evtchn", "xen-privcmd", "xen-gntdev", "xen-gntalloc", "xenfs", "xen-blkback", "xen-netback", "loop", "tun"],
];

/** Loaded by dom0's initramfs, in this order. */
export const INITRAMFS_MODULES = [
  ...["virtio_pci", "virtio_blk", "virtio_console", "crc32c_generic", "ext4", "9pnet_virtio", "9p"],
];

/** In the guest's initramfs. The driver of PCI serial cards is built into Debian 12's kernel, not into Debian 13's. */
export const GUEST_MODULES = ["uio_pci_generic", "8250_pci"];
