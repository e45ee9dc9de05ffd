// SPDX-License-Identifier: MIT
/** The contract of XenHost (test/xen) on a real Xen: jest runs in dom0, against a guest that is never let go. */

import { Dom0, quote } from "./lab/dom0.js";
import { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { NODE, putTests } from "./tests-in-dom0.js";

const MINUTES = 60_000;
const FILES = ["host", "events", "memory", "other-servers"];

interface JestResult {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly testResults: ReadonlyArray<{
    readonly message: string;
    readonly assertionResults: ReadonlyArray<{ fullName: string; status: string; failureMessages: string[] }>;
  }>;
}

let dom0: Dom0;
let guest: Guest;
let place: string;
beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  place = await putTests(dom0, { jest: true });
  guest = await Guest.create(dom0, { name: "contract", vcpus: 2, paused: true });
}, 10 * MINUTES);
afterAll(async () => {
  await dom0?.sh("xl destroy contract", { check: false });
  dom0?.close();
});

test.each(FILES)(
  "test/xen/%s.test.ts holds on a real Xen",
  async (file) => {
    const jest = [`${place}/node_modules/jest/bin/jest.js`, `dist/test/xen/${file}.test.js`, "--runInBand", "--json"];
    const { stdout, stderr } = await dom0.sh(
      `cd ${place} && IOREQD_TEST_DOMID=${guest.domid} ${[NODE, ...jest].map(quote).join(" ")}`,
      { timeoutMs: 10 * MINUTES, check: false },
    );
    if (!stdout.startsWith("{")) throw new Error(`jest gave no result in dom0: ${stdout}${stderr}`);
    const result = JSON.parse(stdout) as JestResult;
    const failed = result.testResults.flatMap(({ assertionResults, message }) => {
      const bad = assertionResults.filter(({ status }) => status === "failed");
      return assertionResults.length === 0 ? [message] : bad.map(({ failureMessages }) => failureMessages.join("\n"));
    });
    expect(failed).toEqual([]);
    expect(result.numPassedTests).toBeGreaterThan(0);
  },
  11 * MINUTES,
);
