// SPDX-License-Identifier: MIT
import { spawnSync } from "node:child_process";
import { closeSync, constants, openSync, writeFileSync, writeSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { loadAddon } from "../../src/xen/addon.js";
import { ADDON_PATH } from "../../src/xen/libraries.js";
import { Scratch, send, turns } from "./fixtures.js";

const addon = loadAddon();
const { EPIPE } = osConstants.errno;
let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.close());

/** A poller that notes what it is told. */
function noted(fd: number) {
  const calls: number[][] = [];
  const failures: number[] = [];
  const started = addon.pollStart(fd, () => {
    const count = addon.pollDrain(started.poller);
    if (count >= 0) calls.push([...started.ports.subarray(0, count)]);
    else {
      failures.push(-count);
      addon.pollStop(started.poller);
    }
  });
  return { ...started, calls, failures, stop: () => addon.pollStop(started.poller) };
}

test("all ports that are pending arrive in one call", async () => {
  const { fd } = scratch.fifo();
  const poll = noted(fd);
  send(fd, 5);
  await turns();
  send(fd, 7, 8, 9);
  await turns();
  poll.stop();
  expect(poll.calls).toEqual([[5], [7, 8, 9]]);
  expect(poll.failures).toEqual([]);
});

test("more ports than fit come in further calls, in order and none lost", async () => {
  const { fd } = scratch.fifo();
  const sent = Array.from({ length: 1000 }, (_, i) => i + 1);
  const poll = noted(fd);
  send(fd, ...sent);
  await turns(100);
  poll.stop();
  expect(poll.calls.flat()).toEqual(sent);
  expect(Math.max(...poll.calls.map((ports) => ports.length))).toBe(poll.ports.length);
});

test("a port number that arrives in two pieces is put together", async () => {
  const { fd } = scratch.fifo();
  const poll = noted(fd);
  writeSync(fd, Uint8Array.of(1, 0, 0, 0, 2, 3));
  await turns();
  writeSync(fd, Uint8Array.of(4, 5));
  await turns();
  poll.stop();
  expect(poll.calls).toEqual([[1], [0x05040302]]);
});

test("drain takes what is pending without waiting for the loop, and 0 when there is nothing", async () => {
  const { fd } = scratch.fifo();
  const poll = noted(fd);
  send(fd, 3, 4);
  expect(addon.pollDrain(poll.poller)).toBe(2);
  expect([...poll.ports.subarray(0, 2)]).toEqual([3, 4]);
  expect(addon.pollDrain(poll.poller)).toBe(0);
  await turns();
  poll.stop();
  expect(poll.calls).toEqual([]);
});

test("a sleep ends as soon as something is pending, after its time, and at once when stopped", () => {
  const run = node(`
    const { poller } = addon.pollStart(fd, () => {
      const said = [addon.pollSleep(poller, 60_000), addon.pollDrain(poller), addon.pollSleep(poller, 1)];
      addon.pollStop(poller);
      console.log(...said, addon.pollSleep(poller, 60_000));
    });
    send(3);`);
  expect(run).toMatchObject({ status: 0, stdout: "true 1 false false" });
});

test.each([
  ["a timer is due", "setTimeout(done, 20)"],
  ["an immediate is due", "setImmediate(done)"],
  ["a socket has something", 'client.write("x")'],
])("a sleep ends when %s", (_what, prepare) => {
  const run = node(`
    const net = require("node:net");
    const { poller } = addon.pollStart(fd, () => {
      addon.pollDrain(poller);
      ${prepare};
      while (addon.pollSleep(poller, 60_000));
    });
    const done = () => { console.log("its turn"); process.exit(); };
    const server = net.createServer((socket) => { socket.on("data", done); send(1); });
    let client;
    server.listen(path + ".socket", () => { client = net.connect(path + ".socket"); });`);
  expect(run).toMatchObject({ status: 0, stdout: "its turn" });
});

test("no call comes after stop, also when it is stopped from within a call", async () => {
  const { fd } = scratch.fifo();
  let calls = 0;
  const { poller } = addon.pollStart(fd, () => {
    calls += 1;
    addon.pollStop(poller);
    send(fd, 2);
  });
  send(fd, 1);
  await turns();
  addon.pollStop(poller);
  expect(calls).toBe(1);
  expect(addon.pollDrain(poller)).toBe(0);
});

test("a new poller can take over the descriptor of a stopped one", async () => {
  const { fd } = scratch.fifo();
  noted(fd).stop();
  const second = noted(fd);
  send(fd, 6);
  await turns();
  second.stop();
  expect(second.calls).toEqual([[6]]);
});

test("the end of the stream is told once, as EPIPE", async () => {
  const path = join(scratch.dir, "ends");
  spawnSync("mkfifo", [path]);
  const readEnd = scratch.open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeEnd = openSync(path, constants.O_WRONLY);
  const poll = noted(readEnd);
  send(writeEnd, 1);
  await turns();
  closeSync(writeEnd);
  await turns();
  expect(poll.calls).toEqual([[1]]);
  expect(poll.failures).toEqual([EPIPE]);
  poll.stop();
});

test("a descriptor that is closed or cannot be polled is refused at once", () => {
  expect(() => noted(9999)).toThrow(/bad file descriptor/i);
  const file = join(scratch.dir, "plain");
  writeFileSync(file, "");
  const fd = scratch.open(file, constants.O_RDONLY);
  expect(() => noted(fd)).toThrow("this fd cannot be polled");
});

test("wrong arguments are refused", () => {
  expect(() => (addon.pollStart as (...args: unknown[]) => void)("x")).toThrow("pollStart needs");
  expect(() => (addon.pollStop as (...args: unknown[]) => void)({})).toThrow("needs a poller");
});

/** Runs a script in a Node of its own; the script finds `addon`, `fd` and `send`. */
function node(script: string) {
  const { path } = scratch.fifo(`child${Math.random()}`);
  const prelude = `const fs = require("node:fs"), { Worker } = require("node:worker_threads");
    const path = ${JSON.stringify(path)}, addonPath = ${JSON.stringify(ADDON_PATH)};
    const addon = require(addonPath);
    const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
    const send = (...ports) => fs.writeSync(fd, new Uint8Array(Uint32Array.from(ports).buffer));\n`;
  const child = spawnSync(process.execPath, ["-e", prelude + script], { encoding: "utf8", timeout: 20_000 });
  return { status: child.status, signal: child.signal, stdout: child.stdout.trim(), stderr: child.stderr };
}

test("what a callback throws becomes an uncaughtException, and polling goes on", () => {
  const run = node(`
    const told = [];
    process.on("uncaughtException", (error) => { told.push(error.message); send(2); });
    const { poller, ports } = addon.pollStart(fd, () => {
      addon.pollDrain(poller);
      if (ports[0] === 1) throw new Error("from the callback");
      console.log(told.join(), ports[0]);
      addon.pollStop(poller);
    });
    send(1);`);
  expect(run).toMatchObject({ status: 0, stdout: "from the callback 2" });
});

test("a poller keeps the process alive until it is stopped, unless unref says otherwise", () => {
  expect(node(`addon.pollRef(addon.pollStart(fd, () => {}).poller, false); console.log("ends");`)).toMatchObject({
    status: 0,
    stdout: "ends",
  });
  const run = node(`
    const { poller } = addon.pollStart(fd, () => { console.log("woken"); addon.pollStop(poller); });
    addon.pollRef(poller, false); addon.pollRef(poller, true);
    require("node:child_process").spawn("sh", ["-c", "sleep 0.2; printf '\\\\001\\\\000\\\\000\\\\000' > " + path], { detached: true, stdio: "ignore" }).unref();`);
  expect(run).toMatchObject({ status: 0, stdout: "woken" });
});

test("process.exit within a callback, with several pollers running, ends cleanly", () => {
  const run = node(`
    for (let i = 0; i < 3; i++) addon.pollStart(fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK), () => process.exit(7));
    send(1);`);
  expect(run).toMatchObject({ status: 7, signal: null, stderr: "" });
});

test("each worker polls on its own loop", async () => {
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const addon = require(workerData.addon);
    const { poller, ports } = addon.pollStart(workerData.fd, () => {
      parentPort.postMessage([...ports.subarray(0, addon.pollDrain(poller))]);
      addon.pollStop(poller);
    });
    parentPort.postMessage("ready");`;
  const results = await Promise.all(
    [1, 2, 3].map(async (n) => {
      const { fd } = scratch.fifo(`worker${n}`);
      const worker = new Worker(code, { eval: true, workerData: { addon: ADDON_PATH, fd } });
      const messages: unknown[] = [];
      worker.on("message", (message: unknown) => {
        messages.push(message);
        if (message === "ready") send(fd, n, n * 10);
      });
      const status = await new Promise((resolve) => worker.on("exit", resolve));
      return { messages, status };
    }),
  );
  expect(results).toEqual([1, 2, 3].map((n) => ({ messages: ["ready", [n, n * 10]], status: 0 })));
});

test.each([
  ["terminated while it waits", "", "send(1)"],
  ["terminated while it is in a callback", "for (;;) ;", ""],
  ["that calls process.exit in a callback", "process.exit(3);", ""],
  ["that throws in a callback", 'throw new Error("in the worker");', ""],
])("a worker %s leaves the process intact", (_what, body) => {
  const run = node(`
    const code = ${JSON.stringify(`
      const { parentPort, workerData } = require("node:worker_threads");
      const fs = require("node:fs");
      const addon = require(workerData.addonPath);
      const fd = fs.openSync(workerData.path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
      const { poller } = addon.pollStart(fd, () => { addon.pollDrain(poller); parentPort.postMessage("called"); ${body} });
      parentPort.postMessage("ready");`)};
    let left = 3;
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(code, { eval: true, workerData: { addonPath, path } });
      worker.on("error", () => {});
      worker.on("message", (m) => { if (m === "ready") { send(1); setTimeout(() => worker.terminate(), 100); } });
      worker.on("exit", () => { if (--left === 0) console.log("alive"); });
    }`);
  expect(run).toMatchObject({ status: 0, signal: null, stdout: "alive", stderr: "" });
});
