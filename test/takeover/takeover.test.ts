// SPDX-License-Identifier: MIT

import { existsSync } from "node:fs";
import { soak } from "../soak/soak.js";
import { guestProgram } from "../support/ioreqd.js";
import { listen } from "../support/notify-socket.js";
import { dyingAt, NOTE_POINTS, REQUEST_POINTS, RING_POINTS, TAKEOVER_POINTS, XEN_POINTS } from "./fault-points.js";
import { supervised } from "./supervised.js";

/** Seconds, on a machine that does much else. */
const PATIENCE_MS = 20_000;

test.each([
  ["on the way of a request", REQUEST_POINTS],
  ["in the buffered ring", RING_POINTS],
  ["while it asks Xen for something", XEN_POINTS],
  ["while it notes how far it has come", NOTE_POINTS],
  ["while it takes over", TAKEOVER_POINTS],
])(
  "a process that dies %s loses nothing and does nothing twice",
  async (_where, points) => {
    const result = await soak({ kills: points.length + 1, seed: 1, points, patience: PATIENCE_MS });
    expect(result.problems).toEqual([]);
    // The first is killed when the guest has begun, wherever it is.
    expect(result.killsBy).toEqual(new Map([["at any moment", 1], ...points.map((point) => [point, 1] as const)]));
  },
  120_000,
);

test("a guest that keeps every device busy misses nothing while its process is killed 30 times", async () => {
  const result = await soak({ kills: 30, seed: 20 });
  expect(result.problems).toEqual([]);
  expect(result.kills).toBe(30);
}, 240_000);

test("a process that dies before the guest has seen its server leaves no other", async () => {
  await supervised(guestProgram(""), ["--device", "counter,addr=10.0"], async (all) => {
    for (const point of ["after the pages are mapped", "after a function is claimed"] as const) {
      all.launch(dyingAt(point));
      expect(await all.ended()).toBe("SIGKILL");
    }
    all.launch(dyingAt("before the server is enabled"));
    expect(await all.ended()).toBe("SIGKILL");
    all.launch(dyingAt("after the server is enabled"));
    expect(await all.ended()).toBe("SIGKILL");
    expect(await all.start()).toMatchObject({ takenOver: true });
    expect(all.host.counters()).toMatchObject({ servers: 1, ranges: 1 });
    expect(await all.end("SIGTERM")).toBe(0);
    expect(all.host.counters()).toMatchObject({ servers: 0, ranges: 0 });
  });
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
