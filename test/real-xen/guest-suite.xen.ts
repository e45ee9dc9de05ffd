// SPDX-License-Identifier: MIT
/** The suite of test/guest-suite and the demonstration on a real Xen, all in one guest: see test/sim/guest-suite.test.ts. */

import type { GuestOutcome } from "../../src/sim/vcpu-outcome.js";
import { deviceArguments, VCPUS } from "../guest-suite/case.js";
import { CASES } from "../guest-suite/index.js";
import { Dom0, quote } from "./lab/dom0.js";
import { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { NODE, putTests } from "./tests-in-dom0.js";

const BOOT_MS = 440_000;
const CASE_MS = 240_000;

interface Report {
  readonly type: "step" | "log" | "outcome";
  readonly text?: string;
  readonly vcpus?: GuestOutcome["vcpus"];
}

let dom0: Dom0;
let guest: Guest;
let place: string;
let unit: string;

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  place = await putTests(dom0, { jest: false });
  guest = await Guest.create(dom0, { name: "suite", vcpus: VCPUS, paused: true });
  unit = `ioreqd-suite-${guest.domid}`;
  const run = ["ioreqd", "run", "--domid", String(guest.domid), ...deviceArguments(), "--state-dir", `/run/${unit}`];
  await dom0.sh(
    `systemd-run --unit ${unit} --property=Type=exec --property=RuntimeDirectory=${unit} ${run.map(quote).join(" ")}`,
  );
  await dom0.sh(`journalctl --unit ${unit} --follow --lines=all | grep --max-count=1 ready`);
  await guest.unpause();
  await guest.booted();
}, BOOT_MS + 300_000);

afterAll(async () => {
  await dom0?.sh(`xl destroy suite; systemctl stop ${unit}`, { check: false });
  dom0?.close();
});

/** Run a program on every vCPU; what it reported. Fails with what went wrong on each vCPU. */
async function run(module: string, ...words: string[]): Promise<Report[]> {
  const program = JSON.stringify([`${place}/dist/${module}`, ...words]);
  const tty = `"$(xenstore-read /local/domain/${guest.domid}/console/tty)"`;
  const { stdout, stderr } = await dom0.sh(
    `${NODE} ${place}/dist/test/real-xen/agent/main.js ${tty} ${quote(program)}`,
    {
      timeoutMs: CASE_MS,
      check: false,
    },
  );
  const reports = stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Report);
  const outcome = reports.find(({ type }) => type === "outcome");
  if (outcome === undefined) throw new Error(`the program gave no outcome: ${stderr}`);
  const failed = (outcome.vcpus ?? []).filter(({ state }) => state !== "finished");
  expect(failed).toEqual([]);
  return reports;
}

test.each(CASES.map(({ name }) => name))(
  "%s",
  async (name) => {
    await run("test/guest-suite/program.js", name);
  },
  CASE_MS,
);

test(
  "the demonstration runs as it does on the simulated host",
  async () => {
    const steps = (await run("src/sim/guests/demo.js", "once")).filter(({ type }) => type === "step");
    expect(steps.map(({ text }) => text)).toEqual([
      expect.stringMatching(/^enumerated bus 0: \d+ functions$/),
      expect.stringMatching(/^sized and placed \d+ BARs$/),
      "edu 00:10.0: alive, 10! = 3628800, interrupts on GSI 18",
      "edu 00:10.0: 64 bytes by DMA to the card and back, across a page",
      "pci-serial 00:11.0: 12 bytes through its FIFO in loopback",
      "pci-testdev 00:12.0: counted 10 writes of 1 bytes",
      "pvpanic 00:12.1: offers events 0x7, told it of a loaded crash kernel",
      "counter: 4000 reads by 2 vCPUs at once, no gap and no repeat",
    ]);
  },
  CASE_MS,
);
