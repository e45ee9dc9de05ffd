// SPDX-License-Identifier: MIT
/** Streams of bytes for devices: opens what parseChardevSpec() understands. */

import { closeSync, constants, createWriteStream, lstatSync, openSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { ReadStream } from "node:tty";
import { IoreqdError, messageOf } from "../base/errors.js";
import { parseChardevSpec } from "./spec.js";
import { type ChardevBackend, type ChardevRights, StreamChardev } from "./stream.js";

export { type ChardevSpec, parseChardevSpec } from "./spec.js";
export type { ChardevBackend, ChardevRights } from "./stream.js";

export interface ChardevOpener extends ChardevRights {
  /** Node.js can't open a pseudo terminal by itself: see src/xen/pty.ts. */
  openPty(): { readonly fd: number; readonly path: string };
}

/** Throws CHARDEV_INVALID or CHARDEV_FAILED. */
export function openChardev(spec: string, opener: ChardevOpener): ChardevBackend {
  const parsed = parseChardevSpec(spec);
  const chardev = new StreamChardev(opener);
  try {
    if (parsed.kind === "stdio") openStdio(chardev);
    else if (parsed.kind === "pty") openPtyChardev(chardev, opener);
    else if (parsed.kind === "file") openFile(chardev, parsed.path, opener);
    else if (parsed.kind === "unix") openUnix(chardev, parsed.path, opener);
  } catch (error) {
    chardev.close();
    throw new IoreqdError(
      "CHARDEV_FAILED",
      `chardev ${spec}: ${messageOf(error)}`,
      { chardev: spec },
      { cause: error },
    );
  }
  return chardev;
}

function openStdio(chardev: StreamChardev): void {
  chardev.connect(process.stdin, process.stdout);
  chardev.onClose(() => process.stdin.pause());
}

function openPtyChardev(chardev: StreamChardev, opener: ChardevOpener): void {
  const { fd, path } = opener.openPty();
  // While nobody has the other end open a read fails; so one is always open, by us.
  const other = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
  const stream = new ReadStream(fd);
  stream.setRawMode(true);
  stream.on("error", (error) => opener.log.info({ pty: path, error: messageOf(error) }, "pty lost"));
  chardev.connectDuplex(stream);
  chardev.onClose(() => {
    stream.destroy();
    closeSync(other);
  });
  opener.log.info({ pty: path }, "serial line opened");
}

function openFile(chardev: StreamChardev, path: string, opener: ChardevOpener): void {
  const fd = openSync(path, "a", 0o600);
  const stream = createWriteStream(path, { fd });
  stream.on("error", (error) => opener.log.info({ file: path, error: messageOf(error) }, "file lost"));
  chardev.connect(null, stream);
  chardev.onClose(() => stream.end());
}

/** Listens; one client at a time, and the next one when it has gone. */
function openUnix(chardev: StreamChardev, path: string, opener: ChardevOpener): void {
  removeOldSocket(path);
  let client: Socket | null = null;
  const server = createServer((socket) => {
    socket.on("error", () => {}); // "close" follows, and tells all
    if (client !== null) {
      socket.destroy();
      return;
    }
    client = socket;
    chardev.connectDuplex(socket);
    opener.log.debug({ socket: path }, "client connected");
    socket.on("close", () => {
      client = null;
      chardev.connect(null, null);
      opener.log.debug({ socket: path }, "client gone");
    });
  });
  server.on("error", (error) => opener.log.info({ socket: path, error: messageOf(error) }, "socket lost"));
  server.listen(path);
  chardev.onClose(() => {
    client?.destroy();
    server.close();
  });
}

/** A socket that a killed process left behind is in the way; anything else there is somebody's. */
function removeOldSocket(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw new Error(`${path} exists and is no socket; remove it or choose another path`);
  rmSync(path);
}
