// SPDX-License-Identifier: MIT
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { Line, temporaryDirectory, turn, until } from "./fixture.js";

const files = temporaryDirectory();
const lines: Line[] = [];
const sockets: Socket[] = [];
let count = 0;
const freshPath = (): string => {
  count += 1;
  return files.path(`s${count}`);
};

function listen(path = freshPath()): { line: Line; path: string } {
  const line = new Line(`unix:${path}`);
  lines.push(line);
  return { line, path };
}

async function connect(path: string): Promise<{ socket: Socket; received: () => string }> {
  const socket = createConnection(path);
  sockets.push(socket);
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  return { socket, received: () => text };
}

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const line of lines.splice(0)) line.chardev.close();
});
afterAll(() => files.remove());

test("bytes go both ways", async () => {
  const { line, path } = listen();
  const { socket, received } = await connect(path);
  socket.write("to the guest");
  await until(() => line.received === "to the guest");
  line.send("from the guest");
  await until(() => received() === "from the guest");
});

test("input waits until the device has room, and none is lost", async () => {
  const { line, path } = listen();
  line.room = 16;
  const { socket } = await connect(path);
  const text = Array.from({ length: 40_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join("");
  socket.write(text);
  await until(() => line.room === 0);
  await turn();
  expect(line.received).toBe(text.slice(0, 16));
  while (line.received.length < text.length) {
    line.makeRoom(5000);
    await turn();
  }
  expect(line.received).toBe(text);
});

test("a client that says something and goes at once was heard", async () => {
  const { line, path } = listen();
  line.room = 4;
  const { socket } = await connect(path);
  socket.end("a long line");
  await until(() => line.received === "a lo");
  socket.destroy();
  await turn();
  line.makeRoom(100);
  await until(() => line.received === "a long line");
});

test("one client at a time; the next when it has gone", async () => {
  const { line, path } = listen();
  const first = await connect(path);
  const second = await connect(path);
  await new Promise((resolve) => second.socket.once("close", resolve));
  line.send("x");
  await until(() => first.received() === "x");
  first.socket.destroy();
  await until(() => line.said.includes("client gone"));
  line.send("nobody hears this");
  const third = await connect(path);
  await until(() => line.said.filter((what) => what === "client connected").length === 2);
  line.send("y");
  await until(() => third.received() !== "");
  expect([third.received(), second.received()]).toEqual(["y", ""]);
});

test("a client that does not read costs the bound and no more; afterwards the line goes on", async () => {
  const { line, path } = listen();
  const { socket, received } = await connect(path);
  socket.pause();
  await until(() => line.said.includes("client connected"));
  let sent = 0;
  while (!line.said.includes("output dropped: nobody takes it")) {
    line.send("x".repeat(16_384));
    sent += 16_384;
    await turn();
  }
  socket.resume();
  await until(() => received().length > sent - 32_768);
  await turn();
  line.send("and on");
  await until(() => received().endsWith("and on"));
  expect(received().length).toBeLessThan(sent);
});

test("a client that has said all it wants to say still hears the answer", async () => {
  const { line, path } = listen();
  const socket = createConnection({ path, allowHalfOpen: true });
  sockets.push(socket);
  let heard = "";
  socket.on("data", (chunk) => {
    heard += String(chunk);
  });
  socket.end("question");
  await until(() => line.received === "question");
  await turn();
  line.send("answer");
  await until(() => heard === "answer");
  socket.destroy();
  await turn();
  // That it has gone shows when the next one comes.
  await connect(path);
  await until(() => line.said.filter((what) => what === "client connected").length === 2);
});

test("a client that said more than the device takes, and went, does not keep the next one out", async () => {
  const { line, path } = listen();
  line.room = 1;
  const { socket } = await connect(path);
  socket.write("a lot");
  await until(() => line.received === "a");
  socket.destroy();
  await turn();
  const next = await connect(path);
  line.makeRoom(100);
  next.socket.write("b");
  await until(() => line.received === "ab");
});

test("closing takes the socket away", async () => {
  const { line, path } = listen();
  expect(existsSync(path)).toBe(true);
  line.chardev.close();
  await turn();
  expect(existsSync(path)).toBe(false);
});

test("a socket that a dead process left is replaced", async () => {
  const path = freshPath();
  const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", script]);
  expect(existsSync(path)).toBe(true);
  listen(path);
  await connect(path);
});

test("a socket that someone listens on is refused, and still works for them", async () => {
  const path = freshPath();
  const other = createServer((socket) => socket.end("still here"));
  await new Promise<void>((resolve) => other.listen(path, resolve));
  expect(() => listen(path)).toThrow(/another process listens on/);
  const { received } = await connect(path);
  await until(() => received() === "still here");
  other.close();
});

test("a file in the way is not removed, and a missing directory is told", () => {
  const path = freshPath();
  writeFileSync(path, "precious");
  expect(() => listen(path)).toThrow(
    expect.objectContaining({ code: "CHARDEV_FAILED", message: expect.stringMatching(/is no socket/) }),
  );
  expect(existsSync(path)).toBe(true);
  expect(() => listen(files.path("no/such/place"))).toThrow(/ENOENT/);
});
