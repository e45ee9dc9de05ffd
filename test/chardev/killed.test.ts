// SPDX-License-Identifier: MIT
/** Serial ports whose process is killed, again and again: what a reader got, and what the guest got. */

import { closeSync, constants, openSync, readFileSync, readSync, statSync, writeSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { Supervisor } from "../support/supervisor.js";
import { temporaryDirectory, until } from "./fixture.js";

const PROGRAM = join(__dirname, "serial-process.js");
const KILLS = 8;
const files = temporaryDirectory();
afterAll(() => files.remove());
let count = 0;

/** What a reader of bytes that count got: how many of them, how many came twice, and whether any is missing. */
function judge(bytes: Iterable<number>): { length: number; twice: number; gaps: number } {
  let [length, twice, gaps] = [0, 0, 0];
  for (const byte of bytes) {
    if (byte === (length & 0xff)) length += 1;
    else if (byte === ((length - 1) & 0xff)) twice += 1;
    else gaps += 1;
  }
  return { length, twice, gaps };
}

/**
 * Processes one after the other, each but the last killed once the reader got its share, somewhere in the middle of
 * whatever it is doing. `progress`: bytes that the reader has, given the log so far.
 */
async function killed(
  chardev: string,
  total: number,
  heard: number,
  progress: (log: string) => number,
  { keeps = true } = {},
) {
  count += 1;
  const supervisor = new Supervisor(files.path(`notify${count}`), keeps);
  const args = [PROGRAM, files.path(`state${count}`), chardev, String(total), String(heard)];
  let [output, log, kills] = ["", "", 0];
  for (let over = false; !over; ) {
    const limit = kills === KILLS ? total : Math.floor((total * (kills + 1)) / (KILLS + 1));
    const child = supervisor.start([...args, String(limit)]);
    const closed = new Promise((resolve) => child.once("close", resolve));
    child.stdout?.on("data", (text) => {
      output += String(text);
    });
    child.stderr?.on("data", (text) => {
      log += String(text);
    });
    const from = progress(log);
    const goal = from + 1 + (limit - from - 1) * Math.random();
    await until(() => child.exitCode !== null || (progress(log) >= goal && kills < KILLS));
    over = child.exitCode !== null;
    if (!over) {
      child.kill("SIGKILL");
      kills += 1;
    }
    await closed;
    supervisor.receive();
  }
  progress(log);
  const kept = [...supervisor.kept];
  supervisor.close();
  if (output === "") throw new Error(`the last process ended too early: ${log}`);
  return { kills, log, kept, guest: JSON.parse(output) as unknown };
}

test("a file has every byte, whoever wrote it", async () => {
  const path = files.path("file");
  const size = (): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const { kills, guest } = await killed(`file:${path}`, 60_000, 0, size);
  const { twice, ...rest } = judge(readFileSync(path));
  expect({ kills, ...rest }).toEqual({ kills: KILLS, length: 60_000, gaps: 0 });
  expect(twice).toBeLessThanOrEqual(KILLS);
  expect(guest).toMatchObject({ sent: 60_000 });
});

test("a client of a socket that connects again gets every byte", async () => {
  const path = files.path("socket");
  const got: number[] = [];
  let over = false;
  let socket: Socket | null = null;
  const connect = (): void => {
    if (over) return;
    socket = createConnection(path);
    socket.on("data", (chunk) => {
      for (const byte of chunk) got.push(byte);
    });
    socket.on("error", () => {});
    socket.on("close", () => setTimeout(connect, 1));
  };
  connect();
  const { kills } = await killed(`unix:${path}`, 60_000, 0, () => got.length, { keeps: false });
  await until(() => got.length >= 60_000);
  over = true;
  (socket as Socket | null)?.destroy();
  const { twice, ...rest } = judge(got);
  expect({ kills, ...rest }).toEqual({ kills: KILLS, length: 60_000, gaps: 0 });
  expect(twice).toBeLessThanOrEqual(KILLS);
});

test("a client of a socket that the supervisor keeps notices nothing, and is heard exactly once", async () => {
  const path = files.path("kept-socket");
  const [total, typed] = [40_000, 8_000];
  const got: number[] = [];
  let connections = 0;
  let socket: Socket | null = null;
  const connect = (): void => {
    const trial = createConnection(path);
    trial.on("error", () => {
      socket = null;
      if (connections === 0) setTimeout(connect, 5);
    });
    trial.on("connect", () => {
      connections += 1;
      // Far more than the device takes at once: most of it waits in the kernel while processes come and go.
      trial.write(Uint8Array.from({ length: typed }, (_, i) => i & 0xff));
    });
    trial.on("data", (chunk) => {
      for (const byte of chunk) got.push(byte);
    });
    socket = trial;
  };
  connect();
  const { kills, guest, kept } = await killed(`unix:${path}`, total, typed, () => got.length);
  await until(() => got.length >= total);
  (socket as Socket | null)?.destroy();
  const { twice, ...rest } = judge(got);
  expect({ connections, kills, ...rest }).toEqual({ connections: 1, kills: KILLS, length: total, gaps: 0 });
  expect(twice).toBeLessThanOrEqual(KILLS);
  expect([guest, kept]).toEqual([{ sent: total, heard: typed, wrong: 0 }, []]);
});

test("a terminal goes on under its name: nothing is missing either way, and what was typed comes exactly once", async () => {
  const [total, typed] = [40_000, 8_000];
  const buffer = Buffer.alloc(65_536);
  const got: number[] = [];
  let terminal = -1;
  let written = 0;
  /** The reader and the typist: opened once, whatever becomes of the processes. */
  const progress = (log: string): number => {
    const path = /"pty":"([^"]+)"/.exec(log)?.[1];
    if (path === undefined) return 0;
    if (terminal < 0) terminal = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    try {
      for (const byte of buffer.subarray(0, readSync(terminal, buffer))) got.push(byte);
    } catch {
      // EAGAIN: nothing there yet
    }
    // Far more than the device takes at once, so most of it waits in the kernel while processes come and go.
    const more = Uint8Array.from({ length: Math.min(500, typed - written) }, (_, i) => (written + i) & 0xff);
    try {
      if (more.length > 0) written += writeSync(terminal, more);
    } catch {
      // EAGAIN: the terminal is full
    }
    return got.length;
  };
  const { kills, log, kept, guest } = await killed("pty", total, typed, progress);
  closeSync(terminal);
  const { twice, ...rest } = judge(got);
  expect({ kills, ...rest }).toEqual({ kills: KILLS, length: total, gaps: 0 });
  expect(twice).toBeLessThanOrEqual(KILLS);
  expect(guest).toEqual({ sent: total, heard: typed, wrong: 0 });
  expect(new Set([...log.matchAll(/"pty":"([^"]+)"/g)].map(([, name]) => name)).size).toBe(1);
  // An orderly end leaves nothing to keep.
  expect(kept).toEqual([]);
});
