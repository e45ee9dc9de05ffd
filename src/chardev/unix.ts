// SPDX-License-Identifier: MIT
/** `unix:PATH`: a socket that listens; one client at a time, and the next one when it has gone. */

import { accessSync, constants, lstatSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { dirname, resolve } from "node:path";
import { messageOf } from "../base/errors.js";
import { streamSink } from "./output.js";
import type { ChardevRights, StreamChardev } from "./stream.js";

/** Throws where the socket can't be made. */
export function openUnix(chardev: StreamChardev, path: string, { log }: ChardevRights): void {
  accessSync(dirname(path), constants.W_OK);
  removeOldSocket(path);
  let client: Socket | null = null;
  const server = createServer((socket) => {
    socket.on("error", () => {}); // "close" follows, and tells all
    if (client !== null) {
      socket.destroy();
      return;
    }
    client = socket;
    chardev.connect(socket, streamSink(socket));
    log.debug({ socket: path }, "client connected");
    socket.on("close", () => {
      client = null;
      chardev.connect(null, null);
      log.debug({ socket: path }, "client gone");
    });
  });
  server.on("error", (error) => log.info({ socket: path, error: messageOf(error) }, "socket lost"));
  server.listen(path);
  chardev.onClose(() => {
    client?.destroy();
    server.close();
  });
  // Node.js tells why only later; that it failed is known now, while start-up can still be refused.
  if (!server.listening) throw new Error(`cannot listen on ${path}`);
}

/** A socket that a killed process left behind is in the way; anything else there is somebody's. */
function removeOldSocket(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw new Error(`${path} exists and is no socket; remove it or choose another path`);
  if (isListenedOn(path)) throw new Error(`another process listens on ${path}; choose another path`);
  rmSync(path);
}

/** Does anyone listen there now? Source: proc(5), /proc/PID/net/unix: flag 0x10000 (__SO_ACCEPTCON), path last. */
function isListenedOn(path: string): boolean {
  const names = [path, resolve(path)];
  return readFileSync("/proc/self/net/unix", "utf8")
    .split("\n")
    .some((line) => {
      const [, flags, name] = /^\S+ \S+ \S+ ([0-9A-F]+) \S+ \S+\s+\d+ (.+)$/.exec(line) ?? [];
      return name !== undefined && names.includes(name) && (Number.parseInt(flags ?? "0", 16) & 0x1_0000) !== 0;
    });
}
