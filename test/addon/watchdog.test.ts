// SPDX-License-Identifier: MIT
/** The thread that ends a process, in processes of their own. Words: phases of three records, 16 apart, and a counter. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { loadAddon } from "../../src/xen/addon.js";
import { ADDON_PATH } from "../../src/xen/libraries.js";

const LIMIT = 200;
const PRELUDE = `
  const addon = require(${JSON.stringify(ADDON_PATH)});
  const memory = new ArrayBuffer(4096), words = new Int32Array(memory);
  const watchdog = addon.watchdogStart(memory, 0, 16, 3, 100, ${LIMIT});
  const busy = (ms) => { for (const end = performance.now() + ms; performance.now() < end; ); };
`;

interface Ended {
  readonly code: number | null;
  readonly stderr: string;
}

/** Run it to its end. `whenStopped` is called once it has stopped itself. */
async function process(body: string, whenStopped?: (pid: number) => Promise<void>): Promise<Ended> {
  const child = spawn("node", ["-e", `${PRELUDE}${body}`], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (text: Buffer) => {
    stderr += text.toString();
  });
  const closed = once(child, "close");
  if (whenStopped !== undefined) {
    while (!/^State:\tT/m.test(readFileSync(`/proc/${child.pid}/status`, "utf8"))) await setTimeout(5);
    await whenStopped(child.pid as number);
  }
  const [code] = (await closed) as [number | null];
  return { code, stderr };
}

test("a transaction that executes for longer than the limit ends the process, and a line says whose it was", async () => {
  expect(await process("words[16] = 1; busy(20_000);")).toEqual({
    code: 70,
    stderr: expect.stringMatching(/^ioreqd: watchdog: vCPU 1's request has been executing for 0\.2 s/),
  });
});

test("the last record is work outside of requests; waiting hangs as well as computing does", async () => {
  const { code, stderr } = await process(
    "words[32] = 1; Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20_000);",
  );
  expect({ code, stderr }).toEqual({ code: 70, stderr: expect.stringContaining("work outside of requests") });
});

test("a process that executes all the time, but not the same transaction, goes on", async () => {
  expect(await process("words[0] = 1; for (let n = 1; n <= 60; n += 1) { words[100] = n; busy(15); }")).toEqual({
    code: 0,
    stderr: "",
  });
});

test("a deferred request is none that executes", async () => {
  expect(await process(`words[0] = 3; busy(${LIMIT * 3});`)).toEqual({ code: 0, stderr: "" });
});

test("a process that was stopped in mid-transaction has its time after that", async () => {
  const body = `words[0] = 1; busy(${LIMIT / 2}); process.kill(process.pid, "SIGSTOP"); busy(${LIMIT / 2}); words[0] = 0;`;
  const ended = await process(body, async (pid) => {
    await setTimeout(LIMIT * 4);
    globalThis.process.kill(pid, "SIGCONT");
  });
  expect(ended).toEqual({ code: 0, stderr: "" });
});

test("once stopped, it watches no more; a second stop does nothing", async () => {
  const body = `addon.watchdogStop(watchdog); addon.watchdogStop(watchdog); words[0] = 1; busy(${LIMIT * 3});`;
  expect(await process(body)).toEqual({ code: 0, stderr: "" });
});

test("a process whose standard error nobody reads ends all the same", async () => {
  const child = spawn(
    "node",
    ["-e", `${PRELUDE} words[0] = 1; const full = "x".repeat(1 << 16); for (;;) require("fs").writeSync(2, full);`],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const [code] = (await once(child, "exit")) as [number | null];
  expect(code).toBe(70);
});

test("words outside of the buffer, and no numbers, are refused", () => {
  const addon = loadAddon();
  const memory = new ArrayBuffer(64);
  expect(() => addon.watchdogStart(memory, 0, 16, 2, 0, 100)).toThrow("not in the buffer");
  expect(() => addon.watchdogStart(memory, 0, 16, 1, 16, 100)).toThrow("not in the buffer");
  expect(() => addon.watchdogStart(memory, 0, 0xffff_ffff, 0xffff_ffff, 0, 100)).toThrow("not in the buffer");
  expect(() => addon.watchdogStart(memory, 0, 16, 1, 0, 0)).toThrow("not in the buffer");
  expect(() => (addon.watchdogStart as (memory: ArrayBuffer) => unknown)(memory)).toThrow("five numbers");
});
