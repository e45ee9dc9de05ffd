// SPDX-License-Identifier: MIT
/** Files of what guests' devices knew as they were saved: where they are, how one is written, and read. */

import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { IoreqdError, messageOf } from "../base/errors.js";
import { readSnapshot, refuseRequests, type Snapshot } from "../state/snapshot.js";

/** Of guests that have ended, each under its uuid: the newest. */
export const DEFAULT_SAVED_DIR = "/var/lib/ioreqd/saved";

/** bin/ioreqd-stopped has the same limit. A serial line takes some 33 KiB, of everything else there are a few. */
export const MOST_SAVED_BYTES = 16 * 1024 * 1024;

/** Of a guest that is served, in its directory: empty until it is saved. bin/ioreqd-stopped knows the name. */
export const savedPath = (stateDir: string, domid: number, uuid: string): string =>
  join(stateDir, String(domid), `${uuid}.saved`);

/** Of one that has ended. */
export const keptPath = (savedDir: string, uuid: string): string => join(savedDir, uuid);

/** Whole or not at all, and on the disk when it returns. Only its owner may read it. Throws fs errors. */
export function writeWhole(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const beside = `${path}.${process.pid}`;
  try {
    const fd = openSync(beside, "w", 0o600);
    try {
      writeAll(fd, bytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}

/** From the beginning of the file on. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at);
}

/**
 * What a file says, whole. It may come from a process that a guest has taken over, so no link is followed and not more is
 * read than there can be. Throws SNAPSHOT_UNREADABLE, SNAPSHOT_INVALID, SNAPSHOT_VERSION_UNKNOWN, REQUESTS_WAITING.
 */
export function readSaved(path: string): Snapshot {
  return refuseRequests(readSnapshot(readBytes(path)));
}

/** All of it, whatever it says. Throws SNAPSHOT_UNREADABLE. */
export function readBytes(path: string): Buffer {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw unreadable(path, messageOf(error));
  }
  try {
    return readAll(fd, path);
  } finally {
    closeSync(fd);
  }
}

/** From the beginning of the file on; `path` is for messages. Throws SNAPSHOT_UNREADABLE. */
export function readAll(fd: number, path: string): Buffer {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw unreadable(path, "it is no file");
  if (stat.size > MOST_SAVED_BYTES)
    throw unreadable(path, `it has ${stat.size} bytes, and ${MOST_SAVED_BYTES} are possible`);
  const bytes = Buffer.alloc(stat.size);
  let length = 0;
  for (let count = -1; count !== 0 && length < bytes.length; length += count)
    count = readSync(fd, bytes, length, bytes.length - length, length);
  return bytes.subarray(0, length);
}

function unreadable(path: string, why: string): IoreqdError {
  return new IoreqdError("SNAPSHOT_UNREADABLE", `saved state of devices, ${path}: ${why}`, { path });
}

/**
 * What was saved of a guest that has ended goes from its directory to where it is looked for, unless that has later.
 * Throws SNAPSHOT_UNREADABLE, fs errors.
 */
export function keepSaved(stateDir: string, domid: number, savedDir: string): void {
  const directory = join(stateDir, String(domid));
  const names = existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith(EXTENSION)) : [];
  for (const name of names) {
    const path = join(directory, name);
    const bytes = readBytes(path);
    const kept = keptPath(savedDir, name.slice(0, -EXTENSION.length));
    const isLater = statSync(path).mtimeMs > (statSync(kept, { throwIfNoEntry: false })?.mtimeMs ?? 0);
    if (bytes.length > 0 && isLater) writeWhole(kept, bytes);
    rmSync(path);
  }
}

const EXTENSION = ".saved";
