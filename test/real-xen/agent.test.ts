// SPDX-License-Identifier: MIT
/** The guest's agent, on this machine and over a pty as long as xenconsoled's: what it does without touching hardware. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tty from "node:tty";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { openPty } from "../../src/xen/pty.js";
import { AgentLink } from "./agent/link.js";
import {
  decodeSeries,
  encodeRequest,
  escapeBytes,
  parseReply,
  resultsOf,
  SHELL,
  unescapeBytes,
} from "./agent/protocol.js";
import { GUEST_SOURCES } from "./lab/lab-files.js";

/** Two ptys back to back: the guest's console and dom0's end of it, with what xenconsoled does in between. */
class Console {
  readonly guest: string;
  readonly dom0: string;
  readonly #streams: tty.ReadStream[] = [];
  /** What goes to dom0 may be spoilt here. */
  spoil: (text: string) => string = (text) => text;

  constructor() {
    const ffi = openAdapter("koffi");
    const [guest, dom0] = [openPty(ffi), openPty(ffi)];
    this.guest = guest.path;
    this.dom0 = dom0.path;
    const [fromGuest, fromDom0] = [new tty.ReadStream(guest.fd), new tty.ReadStream(dom0.fd)];
    const [toGuest, toDom0] = [new tty.WriteStream(guest.fd), new tty.WriteStream(dom0.fd)];
    fromGuest.on("data", (data: Buffer) => toDom0.write(this.spoil(data.toString("latin1")), "latin1"));
    fromDom0.on("data", (data: Buffer) => toGuest.write(data));
    this.#streams.push(fromGuest, fromDom0);
    for (const stream of [fromGuest, fromDom0, toGuest, toDom0]) stream.on("error", () => {});
  }

  close(): void {
    for (const stream of this.#streams) stream.destroy();
  }
}

let directory: string;
let pty: Console;
let agent: ChildProcess;
let link: AgentLink;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "ioreqd-agent-"));
  execFileSync("cc", [
    "-O2",
    "-Wall",
    "-Werror",
    "-pthread",
    "-o",
    join(directory, "agent"),
    join(GUEST_SOURCES, "agent.c"),
  ]);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

beforeEach(() => {
  pty = new Console();
  agent = spawn(join(directory, "agent"), [pty.guest], { stdio: "ignore" });
  link = new AgentLink(pty.dom0, 200);
});
afterEach(() => {
  link.close();
  agent.kill("SIGKILL");
  pty.close();
});

const shell = async (command: string): Promise<[number, string]> => {
  const [status = "", output = ""] = (await link.request(SHELL, `sh ${escapeBytes(command)}`)).split(" ");
  return [Number.parseInt(status, 16), unescapeBytes(output)];
};

test("it says how many vCPUs there are", async () => {
  const [vcpus] = (await link.request(0, "hello")).split(" ");
  expect(Number.parseInt(vcpus as string, 16)).toBeGreaterThan(0);
});

test("a shell command gives its status and all its output, as it was printed", async () => {
  expect(await shell("printf 'a;b %%41\\n\\tü'; echo error >&2; exit 3")).toEqual([3, "a;b %41\n\tüerror\n"]);
  const [, numbers] = await shell("seq 2000");
  expect(numbers.split("\n")).toHaveLength(2001);
});

test("a reply that the kernel printed into is asked for again, and the command has run once", async () => {
  let spoilt = 0;
  pty.spoil = (text) => {
    if (!text.includes("@<") || spoilt > 0) return text;
    spoilt += 1;
    return text.replace("@<", "@[ 12.3] something\n<");
  };
  const file = join(directory, "runs");
  expect(await shell(`echo run >> ${file}; cat ${file}`)).toEqual([0, "run\n"]);
  expect(spoilt).toBe(1);
});

test("a request that was garbled on its way is not executed", async () => {
  const good = encodeRequest(7, SHELL, "sh true");
  expect(parseReply(good.replace("@>", "@<"))).toBeNull();
  const file = join(directory, "garbled");
  const garbled = encodeRequest(8, SHELL, `sh ${escapeBytes(`touch ${file}`)}`).replace("touch", "touck");
  writeFileSync(pty.dom0, `${garbled}\n`);
  expect(await shell(`ls ${file} 2> /dev/null`)).toEqual([expect.any(Number), ""]);
});

test("vCPUs answer on their own while one of them is busy", async () => {
  const fifo = join(directory, "fifo");
  execFileSync("mkfifo", [fifo]);
  const waiting = shell(`cat ${fifo}`);
  await link.request(0, "hello");
  await link.request(0, `sh ${escapeBytes(`echo go > ${fifo}`)}`);
  expect(await waiting).toEqual([0, "go\n"]);
});

test("a batch ends at the first operation that fails, and says which it was", async () => {
  const operations = ["hello", "nonsense 1", "hello"];
  const reply = await link.request(0, operations.join(";"));
  expect(() => resultsOf(reply, operations)).toThrow(
    expect.objectContaining({ code: "GUEST_ACCESS_FAILED", message: expect.stringContaining("nonsense 1") as string }),
  );
});

test("a guest without an agent is told after the time", async () => {
  agent.kill("SIGKILL");
  await expect(link.request(0, "hello", 500)).rejects.toMatchObject({ code: "GUEST_AGENT_SILENT" });
});

test("a series is the first value and the steps to the next ones", () => {
  expect([...decodeSeries("fffffffe,1*3,0,ffffffff", 4)]).toEqual([0xffff_fffe, 0xffff_ffff, 0, 1, 1, 0]);
  expect([...decodeSeries("ff,1", 1)]).toEqual([255, 0]);
  expect([...decodeSeries("7", 2)]).toEqual([7]);
});
