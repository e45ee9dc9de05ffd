// SPDX-License-Identifier: MIT
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Line, temporaryDirectory, until } from "./fixture.js";

const files = temporaryDirectory();
afterAll(() => files.remove());

test("null takes everything and keeps nothing", () => {
  const line = new Line("null");
  line.send("x".repeat(200_000));
  line.chardev.poll();
  line.chardev.close();
  expect(line.said).toEqual([]);
});

test("a file is written to its end, closing included", async () => {
  const path = files.path("log");
  writeFileSync(path, "before\n");
  const line = new Line(`file:${path}`);
  line.send("first\n");
  await until(() => readFileSync(path, "latin1").endsWith("first\n"));
  line.send("last\n");
  line.chardev.close();
  await until(() => readFileSync(path, "latin1") === "before\nfirst\nlast\n");
});

test("a file that can't be opened is refused by name", () => {
  expect(() => new Line(`file:${files.path("no/such/file")}`)).toThrow(
    expect.objectContaining({ code: "CHARDEV_FAILED", message: expect.stringMatching(/ENOENT/) }),
  );
});

/** A process with a stdio chardev that says back what it receives, and tells of itself on standard error. */
const PROGRAM = `
  const { openChardev } = require(${JSON.stringify(join(__dirname, "../../src/chardev/index.js"))});
  const tell = (what) => process.stderr.write(what + "\\n");
  const { StreamIo } = require(${JSON.stringify(join(__dirname, "../../src/xen/stream-io.js"))});
  const { openAdapter } = require(${JSON.stringify(join(__dirname, "../../src/xen/ffi/index.js"))});
  const { chardevArena, transact } = require(${JSON.stringify(join(__dirname, "fixture.js"))});
  const { arena, state } = chardevArena();
  const host = (work) => transact(arena, work);
  const log = { info: (_, what) => tell(what), debug() {}, guest: tell };
  const keeper = { take: () => null, keep() {}, forget() {}, leaving: false };
  const parts = { log, io: new StreamIo(openAdapter()), keeper, host };
  const line = openChardev("stdio", parts, state);
  line.onReceive(() => 3, (byte) => line.write(byte ^ 0x20));
  try { openChardev("stdio", parts, state); } catch (error) { tell(error.message); }
  process.on("SIGUSR2", () => tell("still here"));
  tell("ready");
`;

function start() {
  const child = spawn(process.execPath, ["-e", PROGRAM], { stdio: ["pipe", "pipe", "pipe"] });
  const output = { out: "", err: "" };
  child.stdout.on("data", (chunk) => {
    output.out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    output.err += chunk;
  });
  child.stdin.on("error", () => {});
  return { child, output };
}

test("stdio goes both ways, and serves one chardev only", async () => {
  const { child, output } = start();
  child.stdin.write("hello");
  await until(() => output.out === "HELLO");
  await until(() => output.err.includes("serve another chardev already"));
  child.kill();
});

test("a reader of standard output that goes away does not end the process", async () => {
  const { child, output } = start();
  await until(() => output.err.includes("ready"));
  child.stdout.destroy();
  for (let i = 0; i < 5; i += 1) child.stdin.write("more");
  await until(() => output.err.includes("stdio lost"));
  child.stdin.write("and more");
  // Answered twice: between the two the loop has been where it hears of its input.
  for (const answers of [1, 2]) {
    child.kill("SIGUSR2");
    await until(() => output.err.split("still here").length === answers + 1 || child.exitCode !== null);
  }
  expect(child.exitCode).toBeNull();
  child.kill();
});
