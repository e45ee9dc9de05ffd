// SPDX-License-Identifier: MIT
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { control } from "../../src/control/client.js";
import { type ControlCommand, type ControlCommands, LIMITS, type Limits } from "../../src/control/protocol.js";
import { ControlServer } from "../../src/control/server.js";

const directory = mkdtempSync(join(tmpdir(), "ioreqd-control-"));
const path = join(directory, "control");
const faults: unknown[] = [];
let server: ControlServer | null = null;
const sockets: Socket[] = [];

const commands: ControlCommands = new Map<string, ControlCommand>([
  ["ping", { takes: {}, run: () => undefined }],
  ["echo", { takes: { text: "string", loud: "boolean" }, run: ({ text }) => ({ text }) }],
  ["much", { takes: {}, run: () => ({ text: "x".repeat(100_000) }) }],
  [
    "break",
    {
      takes: {},
      run: () => {
        throw new TypeError("a bug");
      },
    },
  ],
]);

function listen(limits: Partial<Limits> = {}): void {
  server = new ControlServer({
    path,
    commands,
    fault: (error) => faults.push(error),
    limits: { ...LIMITS, ...limits },
  });
}

/** A client that collects what it is told, a line each. */
class Client {
  readonly lines: string[] = [];
  readonly closed: Promise<void>;
  readonly socket = createConnection(path);
  #rest = "";
  #look: () => void = () => {};

  constructor() {
    sockets.push(this.socket);
    this.socket.on("error", () => {});
    this.closed = new Promise((resolve) => this.socket.once("close", () => resolve()));
    this.socket.on("data", (text) => {
      const parts = (this.#rest + String(text)).split("\n");
      this.#rest = parts.pop() ?? "";
      this.lines.push(...parts);
      this.#look();
    });
  }

  /** The first `count` replies, when they are here. */
  replies(count: number): Promise<Array<Record<string, unknown>>> {
    return new Promise((resolve) => {
      this.#look = () => {
        if (this.lines.length < count) return;
        resolve(this.lines.map((line) => JSON.parse(line) as Record<string, unknown>));
      };
      this.#look();
    });
  }
}

afterEach(() => {
  server?.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  faults.length = 0;
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("a request is answered with its id, and many are answered in their order", async () => {
  listen();
  const client = new Client();
  const count = 500;
  for (let id = 0; id < count; id += 1) {
    client.socket.write(`{"id":${id},"command":"echo","arguments":{"text":"${id}"}}\n`);
  }
  const replies = await client.replies(count);
  expect(replies).toEqual(Array.from({ length: count }, (_, id) => ({ id, result: { text: String(id) } })));
});

test("a request may come in any pieces, and its text may be any", async () => {
  listen();
  const client = new Client();
  client.socket.setNoDelay(true);
  const line = Buffer.from('{"id":"ü","command":"echo","arguments":{"text":"日本\\n"}}\n');
  for (const byte of line) {
    client.socket.write(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  expect(await client.replies(1)).toEqual([{ id: "ü", result: { text: "日本\n" } }]);
});

test.each([
  ["", "a line that is not JSON"],
  ["{", "a line that is not JSON"],
  ["[]", "a line that is no JSON object"],
  ["null", "a line that is no JSON object"],
  ["7", "a line that is no JSON object"],
  ["{}", "a request without a command"],
  ['{"command":7}', "a request without a command"],
  ['{"command":"ping","id":{}}', "an id that is neither"],
  ['{"command":"ping","comand":1}', 'a request with "comand"; did you mean command?'],
  ['{"command":"ping","arguments":[]}', "ping with arguments that are no object"],
  ['{"command":"ping","arguments":{"text":"x"}}', 'ping with "text". It takes nothing.'],
  ['{"command":"echo","arguments":{"txet":"x"}}', 'echo with "txet"; did you mean text? It takes: text, loud'],
  ['{"command":"echo","arguments":{"text":7}}', "echo with text that is no string"],
  ['{"command":"echo","arguments":{"loud":"yes"}}', "echo with loud that is no boolean"],
  ['{"command":"echo","arguments":{"__proto__":"x"}}', 'echo with "__proto__"'],
])("%s is answered with an error, and the connection goes on", async (line, message) => {
  listen();
  const client = new Client();
  client.socket.write(`${line}\n{"id":2,"command":"ping"}\n`);
  const [first, second] = await client.replies(2);
  expect(first).toMatchObject({
    id: null,
    error: { code: "CONTROL_REQUEST_INVALID", message: expect.stringContaining(message) as string },
  });
  expect(second).toEqual({ id: 2, result: {} });
});

test("arrays in arrays in arrays are no harm", async () => {
  listen();
  const client = new Client();
  client.socket.write(`${"[".repeat(50_000)}\n${"[".repeat(30_000)}${"]".repeat(30_000)}\n`);
  expect(await client.replies(2)).toMatchObject(Array(2).fill({ error: { code: "CONTROL_REQUEST_INVALID" } }));
});

test.each([
  ["pong", 'there is no command "pong"; did you mean ping? Commands: ping, echo, much, break'],
  ["constructor", 'there is no command "constructor". Commands'],
])("the command %s is refused with its id", async (command, message) => {
  listen();
  const client = new Client();
  client.socket.write(`${JSON.stringify({ id: 3, command })}\n`);
  expect(await client.replies(1)).toMatchObject([
    { id: 3, error: { code: "CONTROL_COMMAND_UNKNOWN", message: expect.stringContaining(message) as string } },
  ]);
});

test("a fault of a command is told to us, and not to the client", async () => {
  listen();
  await expect(control(path, "break")).rejects.toMatchObject({ code: "CONTROL_COMMAND_FAILED" });
  expect(faults).toEqual([new TypeError("a bug")]);
  expect(await control(path, "ping")).toEqual({});
});

test("a request that has no end is refused, and the connection closed", async () => {
  listen({ line: 100 });
  const client = new Client();
  client.socket.write("x".repeat(101));
  expect(await client.replies(1)).toMatchObject([{ error: { message: "a request has at most 100 bytes" } }]);
  await client.closed;
});

test("a request that is too long is refused, however it comes", async () => {
  listen({ line: 100 });
  const client = new Client();
  client.socket.write(`{"command":"echo","arguments":{"text":"${"x".repeat(100)}"}}\n`);
  expect(await client.replies(1)).toMatchObject([{ error: { code: "CONTROL_REQUEST_INVALID" } }]);
  await client.closed;
});

test("one connection too many is told so and closed; when another goes there is room", async () => {
  listen({ connections: 2 });
  const [one, two] = [new Client(), new Client()];
  one.socket.write('{"command":"ping"}\n');
  two.socket.write('{"command":"ping"}\n');
  await Promise.all([one.replies(1), two.replies(1)]);
  const three = new Client();
  expect(await three.replies(1)).toMatchObject([{ error: { code: "CONTROL_BUSY" } }]);
  await three.closed;
  one.socket.end();
  await one.closed;
  expect(await control(path, "ping")).toEqual({});
});

test("a connection that brings nothing is closed after a while, one that brings requests is not", async () => {
  listen({ idleMs: 300 });
  const [silent, trickling] = [new Client(), new Client()];
  trickling.socket.write('{"command":');
  await Promise.all([silent.closed, trickling.closed]);
  expect(await silent.replies(1)).toMatchObject([{ error: { code: "CONTROL_IDLE" } }]);
});

test("a client that reads no replies is asked for no more requests", async () => {
  listen();
  const client = new Client();
  client.socket.pause();
  let asked = 0;
  const ask = (): void => {
    while (asked < 20_000 && client.socket.write('{"command":"much"}\n')) asked += 1;
  };
  client.socket.on("drain", ask);
  ask();
  for (let i = 0; i < 20; i += 1) expect(await control(path, "ping")).toEqual({});
  const waiting = client.socket.writableLength;
  for (let i = 0; i < 20; i += 1) expect(await control(path, "ping")).toEqual({});
  expect([asked < 20_000, client.socket.writableLength]).toEqual([true, waiting]);
});

test("the socket is its owner's alone, the mask of new files is as before, and close() removes it", async () => {
  const mask = process.umask();
  listen();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(process.umask()).toBe(mask);
  const client = new Client();
  client.socket.write('{"command":"ping"}\n');
  await client.replies(1);
  server?.close();
  expect(existsSync(path)).toBe(false);
  await client.closed;
});

test("a socket that a killed process left behind is replaced", async () => {
  const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", script]);
  expect(lstatSync(path).isSocket()).toBe(true);
  listen();
  expect(await control(path, "ping")).toEqual({});
});

test("a file that is no socket is not replaced", () => {
  writeFileSync(path, "somebody's");
  expect(() => listen()).toThrow(
    expect.objectContaining({
      code: "CONTROL_FAILED",
      message: expect.stringContaining("something that is no socket is there") as string,
    }),
  );
  rmSync(path);
});

test("a path that is too long for a socket is refused", () => {
  expect(
    () => new ControlServer({ path: join(directory, "x".repeat(120)), commands, fault: (error) => faults.push(error) }),
  ).toThrow("the path of a unix socket has at most 107 bytes");
});

test("where nobody listens, or nobody answers, the client says so", async () => {
  await expect(control(join(directory, "none"), "ping")).rejects.toMatchObject({ code: "CONTROL_UNREACHABLE" });
  listen({ connections: 1 });
  const client = new Client();
  client.socket.write('{"command":"ping"}\n');
  await client.replies(1);
  await expect(control(path, "ping")).rejects.toMatchObject({ code: "CONTROL_BUSY" });
});
