// SPDX-License-Identifier: MIT
/** Hot-plug of PCI Express in a running Linux that has it in its own hands (`pcie_ports=native`). */

import { Dom0 } from "./lab/dom0.js";
import type { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { MACHINE_MS, traveller } from "./machine.js";
import { serialLine } from "./serial-line.js";

/** Half a minute each, ten seconds of it the guest's, which waits five behind each press of the button. */
const TIMES = Number(process.env["IOREQD_HOTPLUG_TIMES"] ?? 2);
const ONCE_MS = 120_000;
const BEHIND_PORT = "0000:01:00.0";
const DEVICE = `/sys/bus/pci/devices/${BEHIND_PORT}`;

let dom0: Dom0;
let guest: Guest;

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  guest = await traveller(dom0);
}, MACHINE_MS);
afterAll(() => dom0?.close());

const output = async (command: string): Promise<string> => (await guest.sh(command, ONCE_MS)).output;

/** Interrupts of the port's services, by /proc/interrupts. */
async function interrupts(): Promise<{ count: number; kind: string }> {
  const line = (await output("grep -E 'pciehp|PCIe PME|aerdrv' /proc/interrupts")).trim();
  const [, columns = "0", kind = ""] = /^\s*\d+:((?:\s+\d+)+)\s+(.*)$/m.exec(line) ?? [];
  return {
    count: columns
      .trim()
      .split(/\s+/)
      .reduce((sum, column) => sum + Number(column), 0),
    kind,
  };
}

test("the port's driver has its services, by a message", async () => {
  expect(await output("lspci -vvv -s 1c.0")).toMatch(/MSI: Enable\+[\s\S]*SltCtl:\s+Enable: AttnBtn\+[\s\S]*HPIrq\+/);
  expect((await interrupts()).kind).toMatch(/msi/i);
});

test(
  `a serial line put into the slot is noticed, used, and taken out again, ${TIMES} times`,
  async () => {
    const before = (await interrupts()).count;
    for (let time = 1; time <= TIMES; time += 1) {
      await dom0.sh(`ioreqd device add ${guest.domid} pci-serial,bus=port,id=line,chardev=pty`);
      const tty = await serialLine(guest, BEHIND_PORT);
      const { stdout: listed } = await dom0.sh(`ioreqd device list ${guest.domid}`);
      const pty = /^.*\bline\b.* (\/dev\/pts\/\d+)/m.exec(listed)?.[1];
      const received = dom0.sh(`head -n 1 < ${pty}`, { timeoutMs: ONCE_MS });
      await output(`stty -F ${tty} raw -echo && echo time ${time} > ${tty}`);
      expect((await received).stdout).toBe(`time ${time}\n`);
      await dom0.sh(`ioreqd device remove ${guest.domid} line`, { timeoutMs: ONCE_MS });
      await output(`while [ -e ${DEVICE} ]; do sleep 0.2; done`);
      await dom0.sh(`while ioreqd device list ${guest.domid} | grep -w line; do sleep 0.5; done`, {
        timeoutMs: ONCE_MS,
      });
    }
    expect((await interrupts()).count).toBeGreaterThanOrEqual(before + 2 * TIMES);
  },
  TIMES * ONCE_MS,
);

test(
  "what is torn out while it is in use answers all-ones, and the guest goes on",
  async () => {
    await dom0.sh(`ioreqd device add ${guest.domid} edu,bus=port,id=torn`);
    await output(`until [ -e ${DEVICE} ]; do sleep 0.2; done; setpci -s 01:00.0 COMMAND=2:2`);
    const at = /0x[0-9a-f]{16}/.exec(await output(`head -n 1 ${DEVICE}/resource`))?.[0];
    expect(await output(`devmem ${at} 32`)).toContain("0x010000ED");
    await dom0.sh(`ioreqd device remove ${guest.domid} torn --force`);
    expect(await output(`devmem ${at} 32`)).toContain("0xFFFFFFFF");
    await output(`while [ -e ${DEVICE} ]; do sleep 0.2; done`);
  },
  2 * ONCE_MS,
);
