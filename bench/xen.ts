// SPDX-License-Identifier: MIT
/**
 * `npm run bench xen`: one guest on a real Xen reads QEMU's own edu and ours, in turn, in one run.
 * Wants a lab: `npm run test:xen -- --keep --no-suites`. Emulated, only the ratios mean anything.
 */

import { IoreqdError } from "../src/base/errors.js";
import { currentLab } from "../test/real-xen/lab/boot.js";
import { bootGuest } from "../test/real-xen/lab/boot-guest.js";
import type { Dom0 } from "../test/real-xen/lab/dom0.js";
import type { Guest } from "../test/real-xen/lab/guests.js";
import { OVERRIDE } from "../test/real-xen/lab/package.js";
import type { Row } from "./report.js";

const [QEMUS, OURS] = ["00:09.0", "00:10.0"];
const ROUNDS = 41;
const COUNT = 50;
/** USER_HZ: what /proc counts processor time in. */
const TICKS_PER_SECOND = 100;

/** What `bench` in the guest prints: test/real-xen/guest/bench.c. */
interface Measured {
  readonly firstNs: number;
  readonly secondNs: number;
  readonly ratio: number;
}

export async function xen(): Promise<Row[]> {
  const dom0 = await currentLab();
  if (dom0 === null) {
    throw new IoreqdError("LAB_GONE", "this needs a real Xen to run on: npm run test:xen -- --keep --no-suites");
  }
  try {
    return [...(await measure(dom0, null)), ...(await measure(dom0, 200))];
  } finally {
    dom0.close();
  }
}

/** `window`: of adaptive polling, in us; null: as ioreqd chooses, which is none in a dom0 with one vCPU. */
async function measure(dom0: Dom0, window: number | null): Promise<Row[]> {
  const name = `bench-${window ?? "default"}`;
  const settings = { devices: [`edu,addr=${OURS}`], ...(window === null ? {} : { polling: { window } }) };
  await dom0.sh(`mkdir -p /etc/ioreqd/guests && echo '${JSON.stringify(settings)}' > /etc/ioreqd/guests/${name}.conf`);
  const guest = await bootGuest(dom0, {
    name,
    deviceModelArgs: ["-device", "edu,addr=0x9"],
    lines: [OVERRIDE],
  });
  try {
    const polling = window === null ? "" : `, polling ${window} us`;
    const bars = await Promise.all([bar0(guest, QEMUS as string), bar0(guest, OURS as string)]);
    // V8 has to have seen the path a few thousand times.
    await run(guest, `config ${QEMUS} ${OURS}`);
    const before = await processorTime(dom0, guest.domid);
    const config = await run(guest, `config ${QEMUS} ${OURS}`);
    const mmio = await run(guest, `mmio ${bars.join(" ")}`);
    const after = await processorTime(dom0, guest.domid);
    const requests = (2 * ROUNDS + 2) * COUNT;
    const cost = ((after - before) / TICKS_PER_SECOND / requests) * 1e6;
    return [
      row(`a configuration read, ours : QEMU's${polling}`, config, cost),
      row(`a memory read, ours : QEMU's${polling}`, mmio, cost),
    ];
  } finally {
    await guest.destroy();
    await dom0.sh(`rm -f /etc/ioreqd/guests/${name}.conf`);
  }
}

function row(what: string, { firstNs, secondNs, ratio }: Measured, cost: number): Row {
  const us = (ns: number): string => `${(ns / 1000).toFixed(0)} us`;
  const detail = `QEMU ${us(firstNs)}, ioreqd ${us(secondNs)}; ${cost.toFixed(0)} us of dom0's processor a request of ours`;
  return { what, value: ratio, unit: "x", hold: 1, detail };
}

async function run(guest: Guest, what: string): Promise<Measured> {
  const { output } = await guest.sh(`bench ${what} ${ROUNDS} ${COUNT}`, 600_000);
  return JSON.parse(/\{.*\}/.exec(output)?.[0] ?? "null") as Measured;
}

async function bar0(guest: Guest, bdf: string): Promise<string> {
  const { output } = await guest.sh(`head -n 1 /sys/bus/pci/devices/0000:${bdf}/resource`);
  return /0x[0-9a-f]{16}/.exec(output)?.[0] as string;
}

/** Of the process that serves the guest, in ticks. */
async function processorTime(dom0: Dom0, domid: number): Promise<number> {
  const pid = `$(xenstore-read /local/domain/0/device-model/${domid}/ioreqd/pid)`;
  const { stdout } = await dom0.sh(`cut -d' ' -f14,15 /proc/${pid}/stat`);
  return stdout
    .trim()
    .split(" ")
    .reduce((sum, ticks) => sum + Number(ticks), 0);
}
