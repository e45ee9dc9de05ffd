// SPDX-License-Identifier: MIT
/** Devices behind bridges, as a stock Linux numbers, places and moves them: without any parameter of its kernel. */

import { Dom0 } from "./lab/dom0.js";
import type { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { MACHINE_MS, machine } from "./machine.js";

let dom0: Dom0;
let guest: Guest;

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  guest = await machine(dom0);
}, MACHINE_MS);
afterAll(() => dom0?.close());

const output = async (command: string): Promise<string> => (await guest.sh(command)).output;

/** Where Linux has the first BAR of a device, "01:03.0". */
async function bar0(bdf: string): Promise<number> {
  return Number(/0x[0-9a-f]{16}/.exec(await output(`head -n 1 /sys/bus/pci/devices/0000:${bdf}/resource`))?.[0]);
}
const word = async (at: number): Promise<number> => Number(await output(`devmem 0x${at.toString(16)} 32`));

test("lspci draws the tree, with numbers that the kernel gave the buses", async () => {
  const tree = await output("lspci -tv");
  expect(tree).toMatch(/\+-18\.0-\[01\]-+03\.0 {2}Device 1234:c047/);
  expect(tree).toMatch(/-1c\.0-\[02\]-+00\.0 {2}Red Hat, Inc\. QEMU PCI Test Device/);
});

test("lspci -vvv reads bridges, their windows and their capabilities", async () => {
  const bridge = await output("lspci -vvv -s 18.0");
  expect(bridge).toMatch(
    /Bus: primary=00, secondary=01, subordinate=01[\s\S]*Memory behind bridge: [0-9a-f]{8}-[0-9a-f]{8}/,
  );
  const port = await output("lspci -vvv -s 1c.0");
  expect(port).toMatch(/MSI: Enable[\s\S]*Express \(v2\) Root Port \(Slot\+\)[\s\S]*Slot #3[\s\S]*PresDet\+/);
  expect(port).toContain("Kernel driver in use: pcieport");
});

test("a BAR behind a bridge answers where the kernel placed it, and where it is moved to within the window", async () => {
  const before = await bar0("01:03.0");
  await output("setpci -s 01:03.0 COMMAND=2:2");
  const [first, second] = [await word(before), await word(before)];
  expect(second).toBe(first + 1);
  const after = before + 0x1000;
  await output(`setpci -s 01:03.0 BASE_ADDRESS_0=${after.toString(16)}`);
  expect(await word(after)).toBe(first + 2);
  expect(await word(before)).toBe(0xffff_ffff);
  await output(`setpci -s 01:03.0 BASE_ADDRESS_0=${before.toString(16)}`);
});

test("it does not answer outside of the window, nor while the bridge passes no memory on", async () => {
  const at = await bar0("01:03.0");
  await output("setpci -s 01:03.0 COMMAND=2:2; setpci -s 18.0 COMMAND=0:2");
  expect(await word(at)).toBe(0xffff_ffff);
  await output("setpci -s 18.0 COMMAND=2:2");
  expect(await word(at)).not.toBe(0xffff_ffff);
});

test("other numbers for the bus behind, and back: who is there comes along", async () => {
  await output("setpci -s 18.0 SECONDARY_BUS=40 SUBORDINATE_BUS=40");
  expect(await output("setpci -H1 -s 40:03.0 VENDOR_ID; setpci -H1 -s 01:03.0 VENDOR_ID")).toMatch(
    /^1234\s+(ffff|.*No devices selected.*)?\s*$/,
  );
  await output("setpci -s 18.0 SECONDARY_BUS=01 SUBORDINATE_BUS=01");
  expect(await output("setpci -s 01:03.0 VENDOR_ID")).toContain("1234");
});

test("the log names what is behind a bridge by the way to it", async () => {
  const { stdout } = await dom0.sh(`journalctl -o cat -u ioreqd@${guest.domid} | grep '"ready"'`);
  expect(stdout).toContain("0000:00:18.0/03.0 counter");
  expect(stdout).toContain("0000:00:1c.0/00.0 pci-testdev");
});
