// SPDX-License-Identifier: MIT
/** The contract of XenHost (test/xen) on a real Xen: jest runs in dom0, against a guest that is never let go. */

import { Dom0, quote } from "./lab/dom0.js";
import { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { NODE, putTests } from "./tests-in-dom0.js";

const MINUTES = 60_000;
const FILES = ["host", "events", "memory", "other-servers"];

interface JestResult {
  readonly testResults: ReadonlyArray<{
    readonly name: string;
    readonly message: string;
    readonly assertionResults: ReadonlyArray<{ fullName: string; status: string; failureMessages: string[] }>;
  }>;
}

let dom0: Dom0;
let result: JestResult;
beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  const place = await putTests(dom0, { jest: true });
  const guest = await Guest.create(dom0, { name: "contract", vcpus: 2, paused: true });
  const files = FILES.map((file) => `dist/test/xen/${file}.test.js`);
  const jest = [`${place}/node_modules/jest/bin/jest.js`, "--runInBand", "--json", "--runTestsByPath", ...files];
  const { stdout, stderr } = await dom0.sh(
    `cd ${place} && IOREQD_TEST_DOMID=${guest.domid} ${[NODE, ...jest].map(quote).join(" ")}`,
    { timeoutMs: 20 * MINUTES, check: false },
  );
  if (!stdout.startsWith("{")) throw new Error(`jest gave no result in dom0: ${stdout}${stderr}`);
  result = JSON.parse(stdout) as JestResult;
}, 30 * MINUTES);
afterAll(async () => {
  await dom0?.sh("xl destroy contract", { check: false });
  dom0?.close();
});

test.each(FILES)("test/xen/%s.test.ts holds on a real Xen", (file) => {
  const { assertionResults, message } = result.testResults.find(({ name }) => name.endsWith(`/${file}.test.js`)) ?? {
    assertionResults: [],
    message: "jest did not run it",
  };
  const failed = assertionResults.filter(({ status }) => status === "failed");
  expect(assertionResults.length === 0 ? message : failed.map(({ failureMessages }) => failureMessages)).toEqual([]);
  expect(assertionResults.some(({ status }) => status === "passed")).toBe(true);
});
