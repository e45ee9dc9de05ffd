// SPDX-License-Identifier: MIT
/** `unix:PATH`: a socket that listens; one client at a time, and the next one when it has gone. */

import { accessSync, closeSync, constants, lstatSync, readFileSync, renameSync, rmSync } from "node:fs";
import { constants as os } from "node:os";
import { dirname, resolve } from "node:path";
import { getSystemErrorName } from "node:util";
import { Descriptor } from "./descriptor.js";
import type { ChardevRights, StreamChardev } from "./stream.js";

const { EAGAIN } = os.errno;
/** Milliseconds until clients are accepted again where that failed. */
const SHORT_MS = 100;

/** Throws where the socket can't be made. */
export function openUnix(chardev: StreamChardev, path: string, rights: ChardevRights): void {
  const { log, io, keeper } = rights;
  const listener = new Descriptor(io, keeper.take("listener") ?? makeListener(path, rights));
  const ours = idOf(path);
  let client: Descriptor | null = null;
  /** It will say no more. */
  let silent = false;
  const serve = (fd: number): void => {
    client = new Descriptor(io, fd);
    silent = false;
    chardev.connect(client, client, "socket");
    log.debug({ socket: path }, "client connected");
  };
  const gone = (): void => {
    keeper.forget("client");
    chardev.disconnect();
    client?.close();
    client = null;
    log.debug({ socket: path }, "client gone");
  };
  let again: NodeJS.Timeout | null = null;
  const listen = (): void => listener.whenReadable(accept);
  const accept = (): void => {
    let fd: number;
    for (fd = io.accept(listener.fd); fd >= 0; fd = io.accept(listener.fd)) {
      // One that has gone may have said more than the device has room for; it does not keep the next one out.
      if (client !== null && io.hungUp(client.fd)) gone();
      if (client !== null) {
        closeSync(fd);
        continue;
      }
      keeper.keep("client", fd);
      serve(fd);
    }
    if (fd === -EAGAIN) {
      listen();
      return;
    }
    // It stays readable for as long as descriptors, or memory, are short: looking again at once would take the processor.
    log.guest("client not accepted", { socket: path, error: getSystemErrorName(fd) });
    again = setTimeout(listen, SHORT_MS);
  };
  // One that has ended its side may still listen (`echo reboot | nc -U`), and one that takes no more may have said something.
  chardev.onEnd = (which) => {
    if (which === "input") silent = true;
    if (silent && client !== null && (which === "output" || io.hungUp(client.fd))) gone();
  };
  const served = keeper.take("client");
  if (served !== null) serve(served);
  listen();
  chardev.onClose(() => {
    if (again !== null) clearTimeout(again);
    for (const end of ["client", "listener"]) keeper.forget(end);
    client?.close();
    listener.close();
    if (keeper.leaving || ours === null) return;
    for (const one of [path, asideOf(path)]) if (idOf(one) === ours) rmSync(one, { force: true });
    // The guest did not come after all: who has it still gets back what it had.
    if (rights.arriving && idOf(path) === null && idOf(asideOf(path)) !== null) renameSync(asideOf(path), path);
  });
}

/** Where the socket is of the process that serves the guest which comes, until that ends. */
const asideOf = (path: string): string => `${path}.source`;

/** Which socket is there; null: none. */
function idOf(path: string): string | null {
  const there = lstatSync(path, { throwIfNoEntry: false });
  return there?.isSocket() === true ? `${there.dev}:${there.ino}` : null;
}

function makeListener(path: string, { io, keeper, arriving }: ChardevRights): number {
  accessSync(dirname(path), constants.W_OK);
  // A socket listens on, whatever it is called. Who connects from now on is this guest's.
  if (arriving && idOf(path) !== null) renameSync(path, asideOf(path));
  removeOldSocket(path);
  const fd = io.listen(path);
  keeper.keep("listener", fd);
  return fd;
}

/** A socket that a killed process left behind is in the way; anything else there is somebody's. */
function removeOldSocket(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw new Error(`${path} exists and is no socket; remove it or choose another path`);
  if (isListenedOn(path)) throw new Error(`another process listens on ${path}; choose another path`);
  rmSync(path);
}

/** After the end of a process that could not: the socket goes, if it is one and nobody listens there. */
export function removeLeftSocket(path: string): void {
  try {
    removeOldSocket(path);
  } catch {
    // It is somebody's.
  }
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
