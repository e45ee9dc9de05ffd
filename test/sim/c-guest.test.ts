// SPDX-License-Identifier: MIT
/** Guest programs in C. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runSim, type SimOptions, type SimResult } from "../../src/sim/index.js";

const SERVER = [process.execPath, join(__dirname, "register-server.js")];
const HEADERS = join(__dirname, "..", "..", "..", "native", "xensim", "host");
let directory = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sim-test-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function compile(body: string, name = "xensim_guest_main"): string {
  const source = join(directory, "guest.c");
  const file = join(directory, "guest.so");
  writeFileSync(
    source,
    `#include "xensim.h"
     int ${name}(struct xensim *x, unsigned vcpu, unsigned vcpus) { uint64_t data = 0; (void)vcpu, (void)vcpus; ${body} }`,
  );
  execFileSync(process.env.CC ?? "cc", ["-shared", "-fPIC", "-I", HEADERS, "-o", file, source]);
  return file;
}

const run = (guest: string, options: SimOptions = {}): Promise<SimResult> =>
  runSim({ command: SERVER, memoryMib: 4, handleSignals: false, guest, ...options });

test("it runs on a thread for each vCPU, and its accesses reach the device model", async () => {
  const guest = compile(
    "return xensim_vcpu_access(x, vcpu, XENSIM_PIO, false, 0x500 + vcpu, 1, &data) || data != 0 || vcpus != 3;",
  );
  const result = await run(guest, { vcpus: 3 });
  expect(result.problems).toEqual([]);
  expect(result.counters.pio).toBe(3);
});

test("its non-zero status is a failure that names the vCPU", async () => {
  const result = await run(compile("return vcpu == 1 ? 9 : 0;"), { vcpus: 2 });
  expect(result.problems).toEqual([{ code: "GUEST_FAILED", message: "vCPU 1: xensim_guest_main() returned 9" }]);
});

test("it is stopped in the middle of its accesses when the run is aborted", async () => {
  const abort = new AbortController();
  const guest = compile(
    "int rc; while (!(rc = xensim_vcpu_access(x, vcpu, XENSIM_PIO, false, 0x500, 1, &data))) {} return rc;",
  );
  const result = await run(guest, {
    signal: abort.signal,
    figuresMs: 10,
    onProgress: (event) => {
      if (event.type === "figures" && event.counters.pio > 10) abort.abort();
    },
  });
  expect(result.guest?.vcpus[0]?.state).toBe("stopped");
  expect(result.problems.map(({ code }) => code)).toEqual(["INTERRUPTED"]);
});

test("a file without xensim_guest_main is told", async () => {
  const result = await run(compile("return 0;", "other_main"));
  expect(result.problems[0]).toMatchObject({ code: "GUEST_LOAD_FAILED" });
  expect(result.problems[0]?.message).toContain("exports no function xensim_guest_main");
});

test("a file that is no shared object is told", async () => {
  const file = join(directory, "text.so");
  writeFileSync(file, "not an object");
  const result = await run(file);
  expect(result.problems[0]?.code).toBe("GUEST_LOAD_FAILED");
});
