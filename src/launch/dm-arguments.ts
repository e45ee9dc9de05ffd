// SPDX-License-Identifier: MIT
/** QEMU's command line as libxl writes it, with ours in between. Source: Xen tools/libs/light/libxl_dm.c. */

import { accessSync, constants } from "node:fs";
import { IoreqdError } from "../base/errors.js";
import { formatSbdf } from "../base/ids.js";
import type { DeviceRequest } from "../pci/plan.js";

export const OURS = "-ioreqd";

export interface DmArguments {
  /** Null in the probe run, in which libxl 4.20 and later asks QEMU for its options, without a guest. */
  readonly domid: number | null;
  /** Values of -ioreqd, in order. */
  readonly devices: readonly string[];
  /** Slots of bus 0 that QEMU's own arguments give to a device, and to which. */
  readonly slots: ReadonlyMap<number, string>;
  /** The guest is restored, or comes from another host. */
  readonly incoming: boolean;
}

/** Throws DM_ARGUMENT_INVALID. */
export function readDmArguments(argv: readonly string[]): DmArguments {
  const devices: string[] = [];
  const slots = new Map<number, string>();
  let domid: number | null = null;
  let incoming = false;
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] as string;
    const value = argv[i + 1];
    if (word === "-xen-domid") domid = Number(value);
    else if (word === "-incoming") incoming = true;
    else if (word === "-device" && value !== undefined) noteSlot(slots, value);
    else if (word === OURS) {
      if (value === undefined || value.startsWith("-")) throw misspelt(`${OURS} needs a device after it`);
      devices.push(checkedPath(value));
      i += 1;
    } else if (/^--?ioreq/i.test(word)) throw misspelt(`there is no argument ${word}; did you mean ${OURS}?`);
  }
  return { domid, devices, slots, incoming };
}

function misspelt(what: string): IoreqdError {
  return new IoreqdError(
    "DM_ARGUMENT_INVALID",
    `device_model_args_hvm: ${what} Write "${OURS}", "NAME[,key=value…]", for instance "${OURS}", "edu,addr=10.0"`,
  );
}

/** libxl starts device models in /, so a relative path means nothing. */
function checkedPath(device: string): string {
  if (/^\.{0,2}[^/,=]*\//.test(device) && !device.startsWith("/")) {
    throw misspelt(`${device} is a relative path, and libxl starts device models in /: give the whole path.`);
  }
  return device;
}

/** addr=0x8, addr=8.0: hexadecimal, on bus pci.0 unless another is named. Source: QEMU hw/pci, "addr" property. */
function noteSlot(slots: Map<number, string>, device: string): void {
  const bus = /,bus=([^,]+)/.exec(device)?.[1];
  const slot = /,addr=(?:0x)?([0-9a-f]+)/i.exec(device)?.[1];
  if (slot !== undefined && (bus === undefined || bus === "pci.0")) slots.set(Number.parseInt(slot, 16), device);
}

/** What QEMU has on bus 0 of every HVM guest. Source: QEMU hw/i386/pc_piix.c; hw/xen/xen_platform.c is at 2 by libxl's default. */
const FIXED_SLOTS: ReadonlyMap<number, string> = new Map([
  [0, "the host bridge"],
  [1, "the PIIX3"],
]);

/**
 * QEMU makes its ioreq server after ours, and the younger one wins: a device of ours on a slot of QEMU's would never
 * be seen. Throws SLOT_TAKEN.
 */
export function refuseSlotsOfQemu(requests: readonly DeviceRequest[], slots: ReadonlyMap<number, string>): void {
  for (const { device, sbdf, bus } of requests) {
    // Behind a bridge of ours there is nothing of QEMU's.
    if (bus !== undefined) continue;
    const slot = (sbdf & 0xff) >>> 3;
    const owner = slots.get(slot) ?? FIXED_SLOTS.get(slot);
    if (owner === undefined) continue;
    throw new IoreqdError(
      "SLOT_TAKEN",
      `${device.name} at ${formatSbdf(sbdf)}: QEMU has ${owner} in that slot, and would shadow it: give another addr=`,
      { device: device.name, slot },
    );
  }
}

/** Where distributions put the QEMU that libxl runs. Source: Debian qemu-system-xen; Xen's own build; Fedora, openSUSE. */
const QEMU_PLACES = [
  "/usr/libexec/xen-qemu-system-i386",
  "/usr/lib/xen/bin/qemu-system-i386",
  "/usr/local/lib/xen/bin/qemu-system-i386",
  "/usr/libexec/xen/bin/qemu-system-i386",
  "/usr/bin/qemu-system-i386",
];

/** The device model that takes over after us. `configured`: of ioreqd.conf. Throws QEMU_MISSING. */
export function findQemu(configured: string | undefined, places: readonly string[] = QEMU_PLACES): string {
  const candidates = configured === undefined ? places : [configured];
  const found = candidates.find(isExecutable);
  if (found !== undefined) return found;
  throw new IoreqdError(
    "QEMU_MISSING",
    `there is no QEMU to hand over to: looked for ${candidates.join(", ")}; install it (Debian: apt install qemu-system-xen), or name it as "qemu" in ioreqd.conf`,
    { candidates },
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
