// SPDX-License-Identifier: MIT
/** Every device as a stock Linux guest meets it: firmware places it, the kernel drives it, the administrator reads the log. */

import { Dom0 } from "./lab/dom0.js";
import type { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { PACKAGE } from "./lab/package.js";
import { MACHINE_MS, machine } from "./machine.js";
import { serialLine } from "./serial-line.js";

/** Bytes through the serial line in each direction: at a millisecond an access, a megabyte takes most of an hour. */
const SERIAL_BYTES = Number(process.env["IOREQD_SERIAL_BYTES"] ?? 2048);
const SERIAL_MS = 60_000 + SERIAL_BYTES * 20;

let dom0: Dom0;
let guest: Guest;

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  guest = await machine(dom0);
}, MACHINE_MS);
afterAll(() => dom0?.close());

const journal = async (pattern: string): Promise<string> =>
  (await dom0.sh(`journalctl -o cat -u ioreqd@${guest.domid} | grep -E '${pattern}' | tail -n 20`, { check: false }))
    .stdout;

/** The first BAR's address, as Linux has it. */
async function bar0(slot: string): Promise<number> {
  const { output } = await guest.sh(`cut -d' ' -f1 /sys/bus/pci/devices/0000:00:${slot}/resource | head -n 1`);
  return Number(/0x[0-9a-f]{16}/.exec(output)?.[0]);
}

test("lspci -vvv reads every function, with its BARs placed by the firmware", async () => {
  const { output } = await guest.sh("lspci -vvv");
  const listed = output.slice(output.indexOf("00:10.0"));
  expect(listed).toMatch(
    /00:10\.0 .*1234:11e8[\s\S]*Interrupt: pin A routed to IRQ \d+[\s\S]*Region 0: Memory at [0-9a-f]{8} .*\[size=1M\]/,
  );
  expect(listed).toMatch(
    /00:11\.0 Serial controller: Red Hat.*QEMU PCI 16550A[\s\S]*Region 0: I\/O ports at [0-9a-f]{4} \[size=8\][\s\S]*Kernel driver in use: serial/,
  );
  expect(listed).toMatch(/00:12\.0 .*Red Hat.*[\s\S]*Region 0: Memory at [0-9a-f]{8}[\s\S]*Region 1: I\/O ports at/);
  expect(listed).toMatch(/00:12\.1 .*Red Hat.*[\s\S]*Region 0: Memory at [0-9a-f]{8}/);
  expect(listed).toMatch(/00:13\.0 .*1234:c047[\s\S]*Region 0: Memory at [0-9a-f]{8} .*\[size=4K\]/);
  expect(listed).toMatch(/00:10\.0 .*[\s\S]*\[40\] MSI: Enable- Count=1\/1 Maskable- 64bit\+[\s\S]*00:11\.0 /);
  const probe = listed.slice(listed.indexOf("00:14.0"));
  for (const line of [
    /Region 1: Memory at [0-9a-f]{8} .*\[size=64K\]/,
    /\[40\] Power Management version 3/,
    /\[48\] MSI: Enable- Count=1\/8 Maskable\+ 64bit\+/,
    /\[60\] Express \(v2\) Root Complex Integrated Endpoint/,
    /\[9c\] MSI-X: Enable- Count=8 Masked-\s+Vector table: BAR=1 offset=00000000\s+PBA: BAR=1 offset=00008000/,
  ]) {
    expect(probe).toMatch(line);
  }
});

test("a BAR that Linux moves answers in its new place, and nobody in the old one", async () => {
  const before = await bar0("10.0");
  expect((await guest.sh(`devmem 0x${before.toString(16)} 32`)).output).toContain("0x010000ED");
  const after = before + 0x0800_0000;
  const moved = after.toString(16);
  await guest.sh(`setpci -s 10.0 COMMAND=0:2; setpci -s 10.0 BASE_ADDRESS_0=${moved}; setpci -s 10.0 COMMAND=2:2`);
  expect((await guest.sh(`devmem 0x${moved} 32`)).output).toContain("0x010000ED");
  expect((await guest.sh(`devmem 0x${before.toString(16)} 32`)).output).toContain("0xFFFFFFFF");
  await guest.sh(
    `setpci -s 10.0 COMMAND=0:2; setpci -s 10.0 BASE_ADDRESS_0=${before.toString(16)}; setpci -s 10.0 COMMAND=2:2`,
  );
  expect((await guest.sh(`devmem 0x${before.toString(16)} 32`)).output).toContain("0x010000ED");
});

describe(`${SERIAL_BYTES} bytes through an 8250 console of the guest's kernel`, () => {
  /** The same on both sides, and no byte of it twice in a row. */
  const text = `seq 1 1000000 | head -c ${SERIAL_BYTES}`;
  let sum: string;
  let pty: string;
  let tty: string;

  beforeAll(async () => {
    sum = (await dom0.sh(`${text} | md5sum | cut -d' ' -f1`)).stdout.trim();
    pty = /\/dev\/pts\/\d+/.exec(await journal("/dev/pts/"))?.[0] as string;
    tty = await serialLine(guest, "0000:00:11.0");
    await guest.sh(`stty -F ${tty} raw -echo 115200`);
  });

  test(
    "arrive in dom0 unharmed",
    async () => {
      const received = dom0.sh(`head -c ${SERIAL_BYTES} < ${pty} | md5sum`, { timeoutMs: SERIAL_MS });
      // Not straight from `seq`: busybox would write line by line.
      await guest.sh(`${text} > /tmp/text; cat /tmp/text > ${tty}`, SERIAL_MS);
      expect((await received).stdout).toContain(sum);
    },
    SERIAL_MS,
  );

  test(
    "arrive in the guest unharmed",
    async () => {
      // What comes before the line is open would be lost, as on any serial line: so the guest says that it is.
      const listen = `exec 3< ${tty}; echo > /tmp/open; head -c ${SERIAL_BYTES} <&3 | md5sum > /tmp/sum`;
      await guest.sh(
        `rm -f /tmp/open /tmp/sum; (${listen}) > /dev/null 2>&1 & until [ -e /tmp/open ]; do sleep 0.1; done`,
      );
      await dom0.sh(`${text} > ${pty}`, { timeoutMs: SERIAL_MS });
      expect((await guest.sh("until [ -s /tmp/sum ]; do sleep 0.2; done; cat /tmp/sum", SERIAL_MS)).output).toContain(
        sum,
      );
    },
    SERIAL_MS,
  );
});

test("removing the package leaves a running guest its devices, and says which guests are served", async () => {
  const bar = (await bar0("10.0")).toString(16);
  const { stderr } = await dom0.sh("dpkg --force-unsafe-io -r ioreqd");
  try {
    expect(stderr).toContain(`these domains are served, and go on being served: ${guest.domid}\n`);
    expect((await guest.sh(`devmem 0x${bar} 32`)).output).toContain("0x010000ED");
  } finally {
    await dom0.sh(`dpkg --force-unsafe-io -i ${PACKAGE}`);
  }
});
