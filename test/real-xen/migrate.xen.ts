// SPDX-License-Identifier: MIT
/** xl save, xl restore and xl migrate of a guest with devices of ours: what they knew travels with it. */

import { Dom0 } from "./lab/dom0.js";
import { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { MACHINE_MS, TRAVELLER, traveller } from "./machine.js";
import { leftOf, NOTHING } from "./units.js";

const { name: NAME, devices: DEVICES } = TRAVELLER;
const IMAGE = `/var/tmp/${NAME}.image`;
/** Memory of a guest through a pipe, in the emulation. */
const TRAVEL_MS = 240_000;
const SCRATCH = 0x0c;
const LIVE = 0x04;

let dom0: Dom0;
let guest: Guest;
/** Where the guest's kernel has the first BAR of each. */
let counter: number;
let edu: number;
/** Of each device as the guest's lspci prints it, all of its configuration space. */
let config: string;
let next = 0;

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  guest = await traveller(dom0);
  [counter, edu] = await Promise.all([bar0("13.0"), bar0("10.0")]);
  await guest.sh("setpci -s 10.0 COMMAND=2:2; setpci -s 13.0 COMMAND=2:2");
  await write(counter + 0x08, 0);
  await write(counter + SCRATCH, 0xc0ffee);
  await write(edu + LIVE, 0x55);
  await goesOnCounting();
  config = await configuration();
}, MACHINE_MS);

afterAll(async () => {
  await dom0?.sh(`xl destroy ${NAME}; rm -f ${IMAGE} /var/lib/ioreqd/saved/*`, { check: false });
  dom0?.close();
});

async function bar0(slot: string): Promise<number> {
  const { output } = await guest.sh(`cut -d' ' -f1 /sys/bus/pci/devices/0000:00:${slot}/resource | head -n 1`);
  return Number(/0x[0-9a-f]{16}/.exec(output)?.[0]);
}

const hex = (value: number): string => `0x${value.toString(16)}`;
const write = (at: number, value: number) => guest.sh(`devmem ${hex(at)} 32 ${hex(value)}`);
const read = async (at: number): Promise<number> =>
  Number(/0x[0-9A-F]{8}/.exec((await guest.sh(`devmem ${hex(at)} 32`)).output)?.[0]);
const configuration = async (): Promise<string> =>
  (await guest.sh("for slot in 10 11 13 14; do lspci -xxxx -s $slot.0; done")).output;

/** Neither a gap nor a repeat since the last time. */
async function goesOnCounting(): Promise<void> {
  for (const end = next + 3; next < end; next += 1) expect(await read(counter)).toBe(next);
}

/** All that the guest can see of its devices is as it was; one of them works on. */
async function isAsBefore(): Promise<void> {
  await goesOnCounting();
  expect(await read(counter + 0x04)).toBe(next);
  expect(await read(counter + SCRATCH)).toBe(0xc0ffee);
  expect(await read(edu + LIVE)).toBe(~0x55 >>> 0);
  expect(await configuration()).toBe(config);
  expect((await dom0.sh(`ioreqd device list ${guest.domid}`)).stdout).toMatch(
    /10\.0 +edu[\s\S]*11\.0 +pci-serial +pty \/dev\/pts\/\d+[\s\S]*13\.0 +counter[\s\S]*14\.0 +msix-probe/,
  );
}

async function arrived(consoleName: string = NAME): Promise<void> {
  guest = (await Guest.running(dom0, NAME, consoleName)) as Guest;
}

const journal = async (): Promise<string> => (await dom0.sh(`journalctl -o cat -u ioreqd@${guest.domid}`)).stdout;

const took = async (what: string, act: () => Promise<unknown>): Promise<void> => {
  const before = Date.now();
  await act();
  process.stdout.write(`${what}: ${((Date.now() - before) / 1000).toFixed(1)} s\n`);
};

test(
  "a guest that is saved and restored finds its devices as they were, and nothing is left of the domain before",
  async () => {
    const { domid } = guest;
    await took("xl save", () => dom0.sh(`xl save ${NAME} ${IMAGE}`, { timeoutMs: TRAVEL_MS }));
    expect(await leftOf(dom0, domid)).toEqual({ ...NOTHING, complaints: expect.any(String) });
    const { stdout } = await dom0.sh("stat -c '%a %U %s' /var/lib/ioreqd/saved/*");
    expect(stdout).toMatch(/^600 root \d+\n$/);
    process.stdout.write(`state of ${DEVICES.length} devices: ${stdout}`);
    await took("xl restore", () => dom0.sh(`xl restore ${IMAGE}`, { timeoutMs: TRAVEL_MS }));
    await arrived();
    expect(guest.domid).not.toBe(domid);
    expect(await journal()).toMatch(/"restored":true/);
    await isAsBefore();
  },
  TRAVEL_MS * 2,
);

test(
  "a guest that is migrated within the host counts on without a gap, and nothing is left of the domain before",
  async () => {
    const { domid } = guest;
    await took("xl migrate", () => dom0.sh(`xl migrate -s "" ${NAME} "xl migrate-receive"`, { timeoutMs: TRAVEL_MS }));
    expect(await leftOf(dom0, domid)).toEqual({ ...NOTHING, complaints: expect.any(String) });
    await arrived(`${NAME}--incoming`);
    expect(guest.domid).not.toBe(domid);
    expect(await journal()).toMatch(/"restored":true/);
    await isAsBefore();
  },
  TRAVEL_MS,
);

test(
  "a guest whose migration fails goes on where it was, and counts on",
  async () => {
    // All of it has arrived, and there is no QEMU to go on with: the other side gives up, and xl resumes the guest here.
    const qemu = "/usr/libexec/xen-qemu-system-i386";
    const { domid } = guest;
    const migrate = `xl migrate -s "" ${NAME} "xl migrate-receive"`;
    const { status, stderr } = await dom0.sh(
      `mv ${qemu} ${qemu}.away; ${migrate}; status=$?; mv ${qemu}.away ${qemu}; exit $status`,
      {
        check: false,
        timeoutMs: TRAVEL_MS,
      },
    );
    expect([status === 0, stderr]).toEqual([false, expect.stringContaining("QEMU_MISSING")]);
    expect(Number((await dom0.sh(`xl domid ${NAME}`)).stdout)).toBe(domid);
    await isAsBefore();
  },
  TRAVEL_MS,
);
