// SPDX-License-Identifier: MIT
/** The suite of test/guest-suite and the demonstration on a real Xen, all in one guest: see test/sim/guest-suite.test.ts. */

import { VCPUS } from "../guest-suite/case.js";
import { CASES } from "../guest-suite/index.js";
import { Dom0 } from "./lab/dom0.js";
import { labDirectory } from "./lab/lab-files.js";
import { MACHINE_MS, machine } from "./machine.js";
import { ProgramRuns } from "./run-programs.js";
import { putTests } from "./tests-in-dom0.js";

const CASE_MS = 240_000;
const DEMO = "the demonstration";

let dom0: Dom0;
let runs: ProgramRuns;

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  const place = await putTests(dom0, { jest: false });
  const guest = await machine(dom0);
  const demo = { name: DEMO, file: "dist/src/sim/guests/demo.js", arguments: ["once"], vcpus: VCPUS };
  const cases = CASES.map(({ name, vcpus }) => {
    return { name, file: "dist/test/guest-suite/program.js", arguments: [name], vcpus };
  });
  runs = new ProgramRuns(dom0, guest, place, [...cases, demo], (cases.length + 1) * CASE_MS);
}, MACHINE_MS);

afterAll(() => dom0?.close());

test.each(CASES)(
  "$name",
  async ({ name }) => {
    await runs.of(name);
  },
  CASE_MS,
);

test(
  "the demonstration runs as it does on the simulated host",
  async () => {
    const steps = (await runs.of(DEMO)).flatMap((line) => (line.kind === "step" ? [line.text] : []));
    expect(steps).toEqual([
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
