// SPDX-License-Identifier: MIT
/** Guest programs that return a promise. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runSim } from "../../src/sim/index.js";

const SERVER = [process.execPath, join(__dirname, "register-server.js")];
let directory = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sim-test-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test("an async program is waited for, and gets its arguments", async () => {
  const file = join(directory, "async.mjs");
  writeFileSync(
    file,
    "export default async (vcpu) => { await null; vcpu.log(vcpu.arguments.join()); await null; return 7; };",
  );
  const logs: string[] = [];
  const result = await runSim({
    command: SERVER,
    memoryMib: 4,
    handleSignals: false,
    guest: file,
    guestArguments: ["a", "b"],
    onProgress: (event) => {
      if (event.type === "log") logs.push(event.text);
    },
  });
  expect(logs).toEqual(["a,b"]);
  expect(result.problems[0]?.message).toContain("returned 7");
});
