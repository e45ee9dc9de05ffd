// SPDX-License-Identifier: MIT
/** Devices whose code ends the process, on a simulated host with real processes that end. */

import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { PACKAGE_ROOT } from "../../src/base/place.js";
import { guestProgram } from "../support/ioreqd.js";
import { type Supervised, supervised } from "./supervised.js";

/** Each of its first registers ends the process in a way of its own when it is written. */
const TRAP = `
  const { definePciDevice } = require(${JSON.stringify(join(PACKAGE_ROOT, "dist/src/index.js"))});
  const die = () => process.kill(process.pid, "SIGKILL");
  module.exports = definePciDevice({
    name: "trap",
    ident: { vendor: 0x1234, device: 0x0bad, classCode: 0x00ff00 },
    intx: "A",
    bars: {
      0: {
        space: "mem32",
        size: 4096,
        regs: {
          KILL: { at: 0 }, LOOP: { at: 4 }, EAT: { at: 8 }, TICK: { at: 12 },
          SCRATCH: { at: 16, rw: 0xffffffff, reset: 42 },
        },
      },
    },
    timers: ["tick"],
    attach({ bars: { 0: reg }, timers }) {
      reg.KILL.onWrite(die);
      reg.LOOP.onWrite(() => { for (;;); });
      reg.EAT.onWrite(() => { for (const kept = []; ; ) kept.push(new Array(100000).fill(kept.length)); });
      reg.TICK.onWrite((ms) => timers.tick.start(ms));
      timers.tick.onExpire(die);
    },
  });
`;
const trap = join(tmpdir(), `ioreqd-trap-${process.pid}.js`);
beforeAll(() => writeFileSync(trap, TRAP));
afterAll(() => rmSync(trap, { force: true }));

/**
 * The first vCPU writes a register, waits until the device has gone, and for its return; it goes on using the counter
 * beside it all the time, and so does the second vCPU.
 */
const FALLING_IN = guestProgram(`
  const [offset, value] = vcpu.arguments.map(Number), TRAP = 0xf8000000;
  if (vcpu.id === 0) { place(vcpu); place(vcpu, "00:11.0", TRAP, 0xd000); }
  vcpu.barrier();
  if (vcpu.id === 1) {
    let isolated = false;
    for (let last = -1; !isolated || last < 1000; ) {
      const value = vcpu.read(MEMORY, 4);
      must(value > last, "the counter goes on");
      last = value;
      isolated ||= vcpu.configRead("00:11.0", 0, 4) === 0xffffffff;
    }
    vcpu.barrier();
    return;
  }
  vcpu.step("falling in");
  vcpu.write(TRAP + offset, 4, value);
  while (vcpu.read(TRAP + 16, 4) !== 0xffffffff);
  must(vcpu.configRead("00:11.0", 0, 4) === 0xffffffff, "configuration space");
  vcpu.write(TRAP + 16, 4, 1);
  must(vcpu.read(MEMORY, 4) !== 0xffffffff, "the counter lives");
  vcpu.barrier(); // the other has seen it too, before it is there again
  vcpu.step("isolated");
  while (vcpu.configRead("00:11.0", 0, 4) === 0xffffffff);
  must(vcpu.configRead("00:11.0", 4, 2) === 0, "as after power-on");
  place(vcpu, "00:11.0", TRAP, 0xd000);
  must(vcpu.read(TRAP + 16, 4) === 42, "its reset value");
  vcpu.step("revived");
`);

const args = ["--device", "counter,addr=10.0", "--device", `${trap},addr=11.0,id=trap`];

/** Start it until it lives to be ready and stays so until the guest goes on; returns how many processes died. */
async function untilIsolated(all: Supervised, environment: NodeJS.ProcessEnv): Promise<number> {
  let isIsolated = false;
  const isolated = all.step("isolated").then(() => {
    isIsolated = true;
  });
  for (let deaths = 0; ; deaths += 1) {
    // One that dies while it takes over was never ready.
    await all.start(environment).catch((error: Error) => expect(error.message).toMatch(/^it ended/));
    if (deaths === 0) all.begin();
    await Promise.race([isolated, all.ended()]);
    if (isIsolated) return deaths;
    if (deaths > 5) throw new Error(`it dies again and again: ${JSON.stringify(all.log)}`);
  }
}

async function fallsIn(
  offset: number,
  value: number,
  act: (all: Supervised) => Promise<void> | void,
  { environment = {}, more = [] }: { environment?: NodeJS.ProcessEnv; more?: readonly string[] } = {},
): Promise<void> {
  await supervised(
    FALLING_IN,
    [...args, ...more],
    async (all) => {
      expect(await untilIsolated(all, environment)).toBe(2);
      expect(all.said("device quarantined")).toEqual([
        expect.objectContaining({
          device: "0000:00:11.0 trap",
          deaths: 2,
          revive: "ioreqd device revive 1 0000:00:11.0",
        }),
      ]);
      await act(all);
      const device = (...words: string[]) => all.ioreqd("device", ...words, "--state-dir", all.path("state"));
      expect(device("list", "1").stdout).toMatch(/00:11\.0 +trap +trap +in quarantine\n/);
      expect(all.ioreqd("inspect", "1", "--state-dir", all.path("state")).stdout).toContain(
        "trap (trap), in quarantine",
      );
      expect(device("revive", "1", "trap")).toMatchObject({ status: 0, stdout: expect.stringContaining("revived") });
      expect(device("revive", "1", "11.0").stderr).toContain("NOT_QUARANTINED");
      await expect(all.guest.done).resolves.toMatchObject({ ok: true });
      expect(all.host.crashReason).toBeNull();
    },
    { words: [String(offset), String(value)] },
  );
}

const named = (reg: string, deaths: number) =>
  expect.objectContaining({ vcpu: 0, device: "0000:00:11.0 trap bar0", reg, op: "W", value: "0x5", deaths });

test("a register whose write kills the process, again and again", async () => {
  await fallsIn(0, 5, (all) => {
    expect(all.said("a process died in this request")).toEqual([named("KILL", 1), named("KILL", 2)]);
  });
}, 40_000);

test("a register whose write never ends: the watchdog ends the process", async () => {
  await fallsIn(
    4,
    5,
    (all) => {
      expect(all.said("a process died in this request")).toEqual([named("LOOP", 1), named("LOOP", 2)]);
      const lines = all.stderr.split("\n").filter((line) => line.startsWith("ioreqd: watchdog"));
      expect(lines).toHaveLength(2);
      expect(lines[0]).toContain("vCPU 0's request has been executing for 0.4 s");
    },
    { more: ["--watchdog", "400"] },
  );
}, 40_000);

test("a register whose write takes all the memory there is", async () => {
  await fallsIn(
    8,
    5,
    (all) => {
      expect(all.said("a process died in this request")).toEqual([named("EAT", 1), named("EAT", 2)]);
    },
    { environment: { NODE_OPTIONS: "--max-old-space-size=48" }, more: ["--watchdog", "0"] },
  );
}, 40_000);

test("a timer that kills the process", async () => {
  await fallsIn(12, 1, (all) => {
    expect(all.said("a process died in work of this device outside of requests")).toEqual([
      expect.objectContaining({ device: "0000:00:11.0 trap", deaths: 1 }),
      expect.objectContaining({ device: "0000:00:11.0 trap", deaths: 2 }),
    ]);
  });
}, 40_000);

test("a process that is stopped for longer than the watchdog's limit, and goes on, serves as before", async () => {
  const program = guestProgram(`
    place(vcpu);
    vcpu.step("counting");
    for (let n = 0; n < 50000; n += 1) must(vcpu.read(MEMORY, 4) === n, "no gap");
  `);
  await supervised(
    program,
    ["--device", "counter,addr=10.0", "--watchdog", "200"],
    async (all) => {
      await all.start();
      all.begin();
      await all.step("counting");
      process.kill(all.pid, "SIGSTOP");
      await setTimeout(800);
      process.kill(all.pid, "SIGCONT");
      await expect(all.guest.done).resolves.toMatchObject({ ok: true });
      expect(await all.end("SIGTERM")).toBe(0);
    },
    { vcpus: 1 },
  );
}, 40_000);
