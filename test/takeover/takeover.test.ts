// SPDX-License-Identifier: MIT

import { existsSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { guestProgram } from "../support/ioreqd.js";
import { listen } from "../support/notify-socket.js";
import { dyingAt, REQUEST_POINTS } from "./fault-points.js";
import { type Supervised, supervised } from "./supervised.js";

/** Every vCPU reads NEXT so many times, and tells what it read. */
const COUNTING = guestProgram(`
  const values = [];
  if (vcpu.id === 0) place(vcpu);
  vcpu.barrier();
  vcpu.step("counting");
  for (let n = 0; n < Number(vcpu.arguments[0]); n += 1) values.push(vcpu.read(MEMORY, 4));
  vcpu.step("counted", { values });
`);

/** What all vCPUs read, sorted. */
const counted = (all: Supervised): number[] =>
  all.reports
    .filter(({ text }) => text === "counted")
    .flatMap(({ detail }) => (detail as { values: number[] }).values)
    .sort((a, b) => a - b);

test("two vCPUs that read a counter see no gap and no repeat while the device model is killed again and again", async () => {
  await supervised(
    COUNTING,
    ["--device", "counter,addr=10.0"],
    async (all) => {
      await all.start();
      all.begin();
      await all.step("counting", 2);
      for (let kill = 0; kill < 8; kill += 1) {
        await setTimeout(kill); // at another moment each time
        await all.end();
        const ready = await all.start();
        expect(ready).toMatchObject({ takenOver: true });
      }
      await expect(all.guest.done).resolves.toMatchObject({ ok: true });
      expect(counted(all)).toEqual(Array.from({ length: 40_000 }, (_, i) => i));
      expect(all.host.crashReason).toBeNull();
      expect(await all.end("SIGTERM")).toBe(0);
      expect(all.host.counters().servers).toBe(0);
    },
    { words: ["20000"] },
  );
}, 120_000);

test("a guest that is abandoned gets its answer, and all ones from then on", async () => {
  const program = guestProgram(`
    place(vcpu);
    vcpu.step("reading");
    let last = 0, value = 0;
    for (; value !== 0xffffffff; value = vcpu.read(MEMORY, 4)) last = value;
    vcpu.step("read", { last, config: vcpu.configRead("00:10.0", 0, 4) });
  `);
  await supervised(
    program,
    ["--device", "counter,addr=10.0"],
    async (all) => {
      await all.start();
      all.begin();
      await all.step("reading");
      await all.end();
      expect(all.ioreqd("abandon", "1", "--state-dir", all.path("state"))).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/what waited is answered, ioreq server 0 is destroyed/),
      });
      await expect(all.guest.done).resolves.toMatchObject({ ok: true });
      expect(all.reports.at(-1)?.detail).toMatchObject({ config: 0xffff_ffff });
      expect(all.host.counters().servers).toBe(0);
      expect(existsSync(all.path("state/1"))).toBe(false);
      expect(all.ioreqd("abandon", "1", "--state-dir", all.path("state")).stderr).toContain("NOTHING_LEFT");
    },
    { vcpus: 1 },
  );
}, 120_000);

test("while a process serves the guest, another is refused, and so is abandoning it", async () => {
  await supervised(guestProgram(""), ["--device", "counter,addr=10.0"], async (all) => {
    await all.start();
    const { status, stderr } = all.ioreqd("abandon", "1", "--state-dir", all.path("state"));
    expect({ status, stderr }).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`served by process ${all.pid}`),
    });
    const second = all.ioreqd("run", "--state-dir", all.path("state"), "--device", "counter");
    expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining("DOMAIN_SERVED") });
  });
}, 120_000);

test.each(REQUEST_POINTS)(
  "a process that dies %s loses nothing and does nothing twice",
  async (point) => {
    await supervised(
      COUNTING,
      ["--device", "counter,addr=10.0"],
      async (all) => {
        // The guest's first accesses place the BARs: about 40, some with many stores.
        await all.start(dyingAt(point, 150));
        all.begin();
        await all.ended();
        expect(await all.start(dyingAt(point, 1000))).toMatchObject({ takenOver: true });
        await all.ended();
        expect(await all.start()).toMatchObject({ takenOver: true });
        await expect(all.guest.done).resolves.toMatchObject({ ok: true });
        expect(counted(all)).toEqual(Array.from({ length: 4000 }, (_, i) => i));
        expect(all.host.crashReason).toBeNull();
      },
      { words: ["2000"] },
    );
  },
  30_000,
);

describe("an answer that a device owes when its process ends", () => {
  const LATE = guestProgram(`
    place(vcpu);
    vcpu.write(MEMORY + 0x14, 4, 200); // DELAY
    vcpu.step("first", { value: vcpu.read(MEMORY, 4) });
    vcpu.step("late", { value: vcpu.read(MEMORY + 0x10, 4) });
    vcpu.step("after", { value: vcpu.read(MEMORY, 4) });
  `);

  test.each(["SIGKILL", "SIGTERM"] as const)(
    "is given by the next one, and counted once, after %s",
    async (signal) => {
      await supervised(
        LATE,
        ["--device", "counter,addr=10.0"],
        async (all) => {
          const supervisor = listen(all.path("notify"));
          await all.start({ NOTIFY_SOCKET: all.path("notify") });
          all.begin();
          await all.step("first");
          await all.deferred();
          expect(await all.end(signal)).toBe(signal === "SIGTERM" ? 0 : null);
          expect(await all.start()).toMatchObject({ takenOver: true });
          await expect(all.guest.done).resolves.toMatchObject({ ok: true });
          const seen = all.reports.map(({ text, detail }) => [text, (detail as { value: number }).value]);
          expect(seen).toEqual([
            ["first", 0],
            ["late", 1],
            ["after", 2],
          ]);
          supervisor.close();
        },
        { vcpus: 1 },
      );
    },
    120_000,
  );
});
