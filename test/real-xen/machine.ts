// SPDX-License-Identifier: MIT
/** One guest with all devices, for every suite that needs a Linux: booting it is the dearest part of them all. */

import { TREE, VCPUS } from "../guest-suite/case.js";
import { bootGuest } from "./lab/boot-guest.js";
import type { Dom0 } from "./lab/dom0.js";
import { Guest } from "./lab/guests.js";

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

/** Its devices come from its own file, but for the serial line's other end, which comes from the xl config. */
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
    lines: ['device_model_override = "/usr/lib/ioreqd/bin/ioreqd-dm"'],
    deviceModelArgs: ["-ioreqd", `pci-serial,addr=${serial},chardev=pty`],
  });
}
