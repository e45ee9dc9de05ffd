// SPDX-License-Identifier: MIT
/** Messages as a driver in the guest's own kernel gets them: test/real-xen/guest/modules/msix_probe.c. */

import { TREE } from "../guest-suite/case.js";
import { Dom0 } from "./lab/dom0.js";
import type { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { MACHINE_MS, machine } from "./machine.js";

const VECTORS = 8;
/** Some dozens of messages, each waited for, where an access may take ten milliseconds. */
const TEST_MS = 120_000;

let dom0: Dom0;
let guest: Guest;

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  guest = await machine(dom0);
}, MACHINE_MS);
afterAll(() => dom0?.close());

async function ok(command: string): Promise<string> {
  const { status, output } = await guest.sh(command, TEST_MS);
  if (status !== 0) throw new Error(`in the guest, \`${command}\` ended with status ${status}: ${output}`);
  return output;
}

/** What the driver is told, in one go. `wait N COUNT` fails where the message does not come. */
const driver = (...lines: string[]): Promise<string> =>
  ok(lines.map((line) => `echo ${line} > /proc/msix_probe`).join(" && "));

const COUNTERS = ["asked", "sent", "waited", "late", "merged", "lost"] as const;
type Counter = (typeof COUNTERS)[number];
interface Seen {
  /** What the device counted. */
  readonly device: Readonly<Record<Counter, number>>;
  /** What came, by vector. */
  readonly came: readonly number[];
}

async function seen(): Promise<Seen> {
  const text = await ok("cat /proc/msix_probe");
  const device = Object.fromEntries(
    COUNTERS.map((name) => [name, Number(new RegExp(`\\b${name} (\\d+)`).exec(text)?.[1])]),
  ) as Record<Counter, number>;
  return { device, came: [...text.matchAll(/^vector \d+ irq \d+ count (\d+)$/gm)].map(([, count]) => Number(count)) };
}

/** What happened since then, where anything did. */
async function since(before: Seen): Promise<Partial<Record<Counter, number>> & { came: number[] }> {
  const now = await seen();
  const counted = COUNTERS.map((name): [Counter, number] => [name, now.device[name] - before.device[name]]);
  return {
    ...Object.fromEntries(counted.filter(([, more]) => more !== 0)),
    came: now.came.map((count, i) => count - (before.came[i] ?? 0)),
  };
}

/** Lines of /proc/interrupts that are the driver's: how often on all CPUs, by vector; and what Linux takes them from. */
async function procInterrupts(): Promise<{ counts: number[]; eventChannels: boolean }> {
  const lines = [
    ...(await ok("cat /proc/interrupts")).matchAll(/^\s*\d+:((?:\s+\d+)+)\s+(\S.*)\bmsix-probe-(\d+)\s*$/gm),
  ];
  const counts: number[] = [];
  for (const [, columns = "", , vector] of lines) {
    counts[Number(vector)] = columns
      .trim()
      .split(/\s+/)
      .reduce((sum, column) => sum + Number(column), 0);
  }
  return { counts, eventChannels: lines.some(([, , source = ""]) => source.includes("xen-pirq")) };
}

/** Zeroes, but for these. */
const only = (counts: Readonly<Record<number, number>>, length = VECTORS): number[] =>
  Array.from({ length }, (_, vector) => counts[vector] ?? 0);

/** One message after the other: what comes before its predecessor was taken may be one with it. */
const fireAndWait = (vector: number, counts: readonly number[]): string[] =>
  counts.flatMap((count) => [`fire ${vector}`, `wait ${vector} ${count}`]);

describe("MSI-X, all vectors requested by a driver", () => {
  beforeAll(() => ok("insmod /lib/msix_probe.ko"), TEST_MS);
  afterAll(() => ok("rmmod msix_probe"), TEST_MS);

  test(
    "each vector comes as often as it is fired, and /proc/interrupts counts the same",
    async () => {
      const before = await seen();
      expect(before.came).toEqual(only({}));
      const times = Array.from({ length: VECTORS }, (_, vector) => vector + 1);
      for (const [vector, most] of times.entries()) {
        await driver(
          ...fireAndWait(
            vector,
            Array.from({ length: most }, (_, i) => i + 1),
          ),
        );
      }
      const total = times.reduce((sum, most) => sum + most, 0);
      expect(await since(before)).toEqual({ asked: total, sent: total, came: times });
      expect((await procInterrupts()).counts).toEqual(times);
    },
    TEST_MS,
  );

  test(
    "what is fired while its interrupt is disabled comes exactly once, when it is enabled",
    async () => {
      const before = await seen();
      const [first = 0, marker = 0] = [before.came[2], before.came[3]];
      await driver("disable 2", "fire 2", "fire 2", "fire 2", ...fireAndWait(3, [marker + 1]));
      expect((await since(before)).came).toEqual(only({ 3: 1 }));
      await driver("enable 2", `wait 2 ${first + 1}`, ...fireAndWait(3, [marker + 2]));
      // With event channels the guest masks its own end, and the device sends; without, the table's entry is masked.
      const { eventChannels } = await procInterrupts();
      const device = eventChannels ? { sent: 5 } : { sent: 3, waited: 1, late: 1, merged: 2 };
      expect(await since(before)).toEqual({ asked: 5, ...device, came: only({ 2: 1, 3: 2 }) });
    },
    TEST_MS,
  );

  test(
    "what the function's mask holds back is pending in the device, and comes exactly once after it",
    async () => {
      const before = await seen();
      const [four = 0, five = 0] = [before.came[4], before.came[5]];
      await driver("hold", "fire 4", "fire 5", "fire 4");
      expect(await since(before)).toEqual({ asked: 3, waited: 2, merged: 1, came: only({}) });
      await driver("release", `wait 4 ${four + 1}`, `wait 5 ${five + 1}`, ...fireAndWait(5, [five + 2]));
      const device = { asked: 4, sent: 3, waited: 2, late: 2, merged: 1 };
      expect(await since(before)).toEqual({ ...device, came: only({ 4: 1, 5: 2 }) });
    },
    TEST_MS,
  );

  test("lspci shows it enabled, and the driver that enabled it", async () => {
    const listed = await ok(`lspci -vvv -s ${TREE["msix-probe"].slice(3)}`);
    expect(listed).toMatch(/MSI-X: Enable\+ Count=8 Masked-[\s\S]*Kernel driver in use: msix_probe/);
  });
});

describe("MSI, one message requested by a driver", () => {
  beforeAll(() => ok("insmod /lib/msix_probe.ko msi=1"), TEST_MS);
  afterAll(() => ok("rmmod msix_probe"), TEST_MS);

  test(
    "it comes as often as it is fired, and /proc/interrupts counts the same",
    async () => {
      const before = await seen();
      await driver(...fireAndWait(0, [1, 2, 3, 4, 5]));
      expect(await since(before)).toEqual({ asked: 5, sent: 5, came: [5] });
      expect((await procInterrupts()).counts).toEqual([5]);
    },
    TEST_MS,
  );

  test(
    "what is fired while its interrupt is disabled comes exactly once, when it is enabled",
    async () => {
      const before = await seen();
      const [first = 0] = before.came;
      await driver("disable 0", "fire 0", "fire 0");
      expect((await since(before)).came).toEqual([0]);
      await driver("enable 0", `wait 0 ${first + 1}`, ...fireAndWait(0, [first + 2]));
      expect((await since(before)).came).toEqual([2]);
    },
    TEST_MS,
  );
});
