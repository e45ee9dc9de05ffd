// SPDX-License-Identifier: MIT
/** Guests that suites share: to boot a Linux is the dearest part of them all. */

import { TREE, VCPUS } from "../guest-suite/case.js";
import { bootGuest } from "./lab/boot-guest.js";
import type { Dom0 } from "./lab/dom0.js";
import { Guest } from "./lab/guests.js";
import { NATIVE_DISK, OVERRIDE } from "./lab/package.js";

const NAME = "machine";
/** Beside the devices on the root bus: some behind bridges. */
export const BEHIND_BRIDGES = [
  "pci-bridge,id=bridge,addr=18.0",
  "counter,bus=bridge,addr=03.0",
  "pcie-root-port,id=port,addr=1c.0,slot=3",
  "pci-testdev,bus=port",
] as const;
/** Several guests, should the emulation trip over the boot loader. */
export const MACHINE_MS = 900_000;

/** The one with all devices. They come from its own file, but for the serial line's other end, which comes from the xl config. */
export async function machine(dom0: Dom0): Promise<Guest> {
  const running = await Guest.running(dom0, NAME);
  if (running !== null) return running;
  const { "pci-serial": serial, ...others } = TREE;
  const config = {
    devices: [...Object.entries(others).map(([name, bdf]) => `${name},addr=${bdf}`), ...BEHIND_BRIDGES],
  };
  await dom0.sh(
    `mkdir -p /etc/ioreqd/guests && echo '${JSON.stringify(config)} // for tests' > /etc/ioreqd/guests/${NAME}.conf`,
  );
  return bootGuest(dom0, {
    name: NAME,
    vcpus: VCPUS,
    lines: [OVERRIDE],
    deviceModelArgs: ["-ioreqd", `pci-serial,addr=${serial},chardev=pty`],
  });
}

/** One with a slot for hot-plug, which Linux has in its own hands, and some devices to take along to where it is moved. */
export const TRAVELLER = {
  name: "traveller",
  devices: ["edu,addr=10.0", "pci-serial,addr=11.0,chardev=pty", "counter,addr=13.0", "msix-probe,addr=14.0"],
  port: "pcie-root-port,id=port,addr=1c.0,slot=3",
} as const;

export async function traveller(dom0: Dom0): Promise<Guest> {
  const { name, devices, port } = TRAVELLER;
  return (
    (await Guest.running(dom0, name)) ??
    bootGuest(dom0, {
      name,
      disk: NATIVE_DISK,
      lines: [OVERRIDE],
      deviceModelArgs: [...devices, port].flatMap((device) => ["-ioreqd", device]),
    })
  );
}
