// SPDX-License-Identifier: MIT
/**
 * The process a lab belongs to: it runs QEMU, lets many clients use the one port into dom0, and leaves nothing behind.
 *
 *   node keeper.js DIRECTORY LOGS
 *
 * DIRECTORY/plan.json has the arguments of QEMU. The lab ends when a client asks, when QEMU ends, at SIGTERM or SIGINT,
 * and when standard input ends without the word "keep": then whoever started it is gone. QEMU is killed by the kernel
 * if the keeper itself is killed.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { collectLogs, tail } from "./evidence.js";
import { labFiles } from "./lab-files.js";
import { encodeFrame, type Frame, frameReader } from "./wire.js";

const [directory = "", logs = ""] = process.argv.slice(2);
const files = labFiles(directory);

/** Commands that run, by the number they have on the port. */
const running = new Map<number, { client: net.Socket; id: number }>();
const clients = new Set<net.Socket>();
let nextId = 1;
let agent: net.Socket | null = null;
let agentStarted = false;
let waiting: Buffer[] = [];
let qemu: ChildProcess | null = null;
let ending = false;

const port = net.createServer((socket) => {
  agent = socket;
  socket.on("data", frameReader(fromAgent)).on("error", () => {});
});
const server = net.createServer(serve);

port.listen(files.port, () => {
  server.listen(files.socket, () => {
    const log = openSync(files.qemu, "a");
    const args = JSON.parse(readFileSync(files.plan, "utf8")) as string[];
    qemu = spawn("setpriv", ["--pdeathsig", "KILL", "qemu-system-x86_64", ...args], { stdio: ["ignore", log, log] });
    closeSync(log);
    qemu.on("error", (error) => end(`QEMU did not start: ${error.message}`));
    qemu.on("exit", (status, signal) => end(`QEMU ended (${signal ?? `status ${status}`}).\n${lastWords()}`));
  });
});

let keep = false;
process.stdin
  .on("data", (data) => {
    keep ||= data.toString().includes("keep");
  })
  .on("end", () => keep || end("whoever started the lab has gone"));
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => end(`ended by ${signal}`));

function serve(client: net.Socket): void {
  clients.add(client);
  client.on("error", () => {});
  client.on("close", () => {
    clients.delete(client);
    for (const [id, owner] of running) if (owner.client === client) toAgent(encodeFrame("K", id, Buffer.from([9])));
  });
  client.on(
    "data",
    frameReader(({ kind, id, payload }) => {
      if (kind === "S") end("it was asked to end");
      else if (kind === "R" || kind === "W") {
        running.set(nextId, { client, id });
        toAgent(encodeFrame(kind, nextId++, payload));
      } else {
        for (const [number, owner] of running) {
          if (owner.client === client && owner.id === id) toAgent(encodeFrame(kind, number, payload));
        }
      }
    }),
  );
}

function toAgent(frame: Buffer): void {
  if (agentStarted) agent?.write(frame);
  else waiting.push(frame);
}

function fromAgent({ kind, id, payload }: Frame): void {
  if (kind === "H") {
    // Started anew: what it ran before has no one to report it.
    if (agentStarted) for (const owner of running.values()) owner.client.write(encodeFrame("X", owner.id, status(-1)));
    agentStarted = true;
    for (const frame of waiting) agent?.write(frame);
    waiting = [];
    return;
  }
  const owner = running.get(id);
  if (owner === undefined) return;
  if (kind === "X") running.delete(id);
  owner.client.write(encodeFrame(kind, owner.id, payload));
}

function status(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/** Xen's panics are on its console, as dom0's; QEMU's complaints in its own log. */
function lastWords(): string {
  const serial = existsSync(files.serial) ? readFileSync(files.serial, "utf8") : "";
  const panic = /^.*(Kernel panic|Panic on CPU|BUG:|Oops:|FATAL).*$/m.exec(serial)?.[0] ?? "";
  return [panic, tail(files.qemu, 5), tail(files.serial, 25)].join("\n");
}

function end(reason: string): void {
  if (ending) return;
  ending = true;
  for (const client of clients) client.end(encodeFrame("L", 0, reason));
  server.close();
  port.close();
  const finish = () => {
    collectLogs(files, logs);
    rmSync(directory, { recursive: true, force: true });
    process.exit(0);
  };
  if (qemu?.pid === undefined || qemu.exitCode !== null || qemu.signalCode !== null) {
    finish();
    return;
  }
  qemu.on("exit", finish);
  qemu.kill("SIGTERM");
  setTimeout(() => qemu?.kill("SIGKILL"), 5_000);
}
