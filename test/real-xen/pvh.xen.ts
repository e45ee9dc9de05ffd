// SPDX-License-Identifier: MIT
/** A guest of type pvh: there is no QEMU and no firmware, and all of its PCI is ours. */

import { bootGuest } from "./lab/boot-guest.js";
import { Dom0 } from "./lab/dom0.js";
import type { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { MACHINE_MS } from "./machine.js";
import { unitEnded } from "./units.js";

const NAME = "alone";
const DEVICES = ["q35-host,addr=00.0", "counter,addr=03.0", "msix-probe,addr=04.0", "pci-bridge,id=bridge,addr=05.0"];
const BEHIND = "counter,bus=bridge,addr=02.0";
/** Xen's ACPI tables for such a guest name no PCI host bridge: Linux is to look by itself. */
const NO_ACPI = "pci=noacpi";

let dom0: Dom0;
let guest: Guest;

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  const devices = [...DEVICES, BEHIND].map((device) => `--device ${device}`).join(" ");
  guest = await bootGuest(dom0, { name: NAME, pvh: NO_ACPI }, async ({ domid }) => {
    await dom0.sh(`ioreqd attach ${domid} ${devices}`);
  });
}, MACHINE_MS);
afterAll(() => dom0?.close());

const output = async (command: string): Promise<string> => (await guest.sh(command)).output;

/** Where Linux has a BAR of a device. */
async function bar(bdf: string, index = 0): Promise<number> {
  const line = await output(`sed -n ${index + 1}p /sys/bus/pci/devices/0000:${bdf}/resource`);
  return Number(/0x[0-9a-f]{16}/.exec(line)?.[0]);
}

test("the kernel's probe finds configuration mechanism 1", async () => {
  expect(await output("dmesg")).toContain("PCI: Using configuration type 1 for base access");
});

test("lspci sees our host bridge, and what is ours behind it", async () => {
  expect(await output("lspci -n")).toMatch(/^00:00\.0 0600: 8086:29c0\b/m);
  const tree = await output("lspci -tv");
  expect(tree).toMatch(/-03\.0 {2}Device 1234:c047/);
  expect(tree).toMatch(/-05\.0-\[01\]-+02\.0 {2}Device 1234:c047/);
});

test.each(["00:03.0", "01:02.0"])("the counter at %s answers where the kernel placed its BAR", async (bdf) => {
  // A driver would switch on its device, and with it the bridge above.
  await output(`setpci -s ${bdf} COMMAND=2:2; setpci -s 05.0 COMMAND=2:2`);
  const read = `devmem 0x${(await bar(bdf)).toString(16)} 32`;
  const first = Number(await output(read));
  expect(Number(await output(read))).toBe(first + 1);
});

test("messages reach a driver in the guest", async () => {
  await output("insmod /lib/msix_probe.ko");
  for (const line of ["fire 5", "wait 5 1", "fire 5", "wait 5 2", "fire 0", "wait 0 1"]) {
    expect(await guest.sh(`echo ${line} > /proc/msix_probe`)).toMatchObject({ status: 0 });
  }
  expect(await output("cat /proc/msix_probe")).toMatch(/vector 0 irq \d+ count 1[\s\S]*vector 5 irq \d+ count 2/);
});

test("it ends, and nothing is left", async () => {
  await guest.destroy();
  await unitEnded(dom0, guest.domid);
  expect((await dom0.sh(`ls -A /run/ioreqd/${guest.domid}`, { check: false })).stdout).toBe("");
});
