// SPDX-License-Identifier: MIT
/** The process that serves a guest dies, is restarted and is stopped, under a real systemd and a guest that works on. */

import { Dom0 } from "./lab/dom0.js";
import type { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { MACHINE_MS, machine } from "./machine.js";
import { ProgramRuns } from "./run-programs.js";
import { putTests } from "./tests-in-dom0.js";

/** How often it is killed; each time takes some seconds here. */
const KILLS = Number(process.env["IOREQD_KILLS"] ?? 2);
const KILL_MS = 30_000;
/** The first process after the package came anew compiles all of it once more. */
const FIRST_MS = 120_000;
/** The slot in which a device appears to end the guest's program. */
const END = "00:1f.0";

let dom0: Dom0;
beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
});
afterAll(() => dom0?.close());

const unitOf = (guest: Guest): string => `ioreqd@${guest.domid}`;

/**
 * Do something that ends the process of a unit, and wait until the next one serves. Resolves with the milliseconds.
 * systemctl takes a tenth of a second here from the process that is waited for, so it is asked only once the state file
 * (src/state/format.ts, HEADER.pid) names another process.
 */
async function replaced(guest: Guest, act: (pid: string) => string): Promise<number> {
  const unit = unitOf(guest);
  const pid = (await dom0.sh(`systemctl show -P MainPID ${unit}`)).stdout.trim();
  const { stdout } = await dom0.sh(
    `before=$(date +%s%N); ${act(pid)}
     until [ "$(od -An -tu4 -j24 -N4 /run/ioreqd/${guest.domid}/state | tr -d ' ')" != ${pid} ]; do sleep 0.5; done
     until [ "$(systemctl is-active ${unit})" = active ]; do sleep 0.5; done
     echo $((($(date +%s%N) - before) / 1000000)); systemctl reset-failed ${unit} 2> /dev/null || true`,
    { timeoutMs: FIRST_MS },
  );
  return Number(stdout.trim().split("\n").at(-1));
}

const journal = async (guest: Guest): Promise<string> =>
  (await dom0.sh(`journalctl -o cat -u ${unitOf(guest)}`)).stdout;

/** How often a process took over so far. */
const takeOvers = async (guest: Guest): Promise<number> =>
  (await journal(guest)).split("taking over from a process that has ended").length - 1;

describe("a guest whose two vCPUs count without a pause", () => {
  let guest: Guest;
  let runs: ProgramRuns;
  beforeAll(async () => {
    const place = await putTests(dom0, { jest: false });
    guest = await machine(dom0);
    const file = "dist/test/real-xen/programs/counting.js";
    runs = new ProgramRuns(
      dom0,
      guest,
      place,
      [{ name: "counting", file, arguments: [END], vcpus: 2 }],
      KILLS * KILL_MS + 2 * FIRST_MS,
    );
  }, MACHINE_MS);

  test(
    `reads no number twice and misses none while its device model is killed ${KILLS} times and restarted once`,
    async () => {
      const took: number[] = [];
      const before = await takeOvers(guest);
      for (let kill = 0; kill < KILLS; kill += 1) took.push(await replaced(guest, (pid) => `kill -9 ${pid}`));
      took.push(await replaced(guest, () => `systemctl restart ${unitOf(guest)}`));
      await dom0.sh(`ioreqd device add ${guest.domid} counter,addr=${END}`);
      const steps = (await runs.of("counting")).flatMap((line) => (line.kind === "step" ? [line.text] : []));
      await dom0.sh(`ioreqd device remove ${guest.domid} ${END} --force`);
      expect(steps.at(-1)).toMatch(/^\d+ reads by 2 vCPUs, no gap and no repeat$/);
      const median = took.sort((a, b) => a - b)[took.length >>> 1];
      process.stdout.write(
        `${steps.at(-1)}; from the kill to the next process: ${took[0]} to ${took.at(-1)} ms, median ${median}\n`,
      );
      expect((await takeOvers(guest)) - before).toBe(KILLS + 1);
      expect(await guest.state()).not.toMatch(/[sc]/);
    },
    KILLS * KILL_MS + 3 * FIRST_MS,
  );
});

test("a unit that is stopped answers the guest, which goes on without its devices, and can be served again", async () => {
  // Its devices forget all that the guest told them: nobody after this can use it.
  const guest = await machine(dom0);
  const before = await takeOvers(guest);
  try {
    await dom0.sh(`systemctl stop ${unitOf(guest)}`);
    expect(await journal(guest)).toMatch(/what waited is answered, ioreq server \d+ is destroyed/);
    expect((await dom0.sh(`ls -A /run/ioreqd/${guest.domid}`, { check: false })).stdout).toBe("");
    // By the bus: lspci would say what the kernel has read once.
    expect((await guest.sh("setpci -s 13.0 0.l")).output).toBe("ffffffff\n");
    await dom0.sh(`systemctl start ${unitOf(guest)}`);
    expect((await dom0.sh(`ioreqd device list ${guest.domid}`)).stdout).toContain("counter");
    expect((await guest.sh("setpci -s 13.0 0.l")).output).toBe("c0471234\n");
    expect(await takeOvers(guest)).toBe(before);
  } finally {
    await guest.destroy();
  }
}, 300_000);
