// SPDX-License-Identifier: MIT
/** Where things are: in the repository, in the cache, and in a running lab's directory. */

import { existsSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { IoreqdError } from "../../../src/base/errors.js";

/** The repository: this file runs from dist/test/real-xen/lab. */
export const ROOT = path.resolve(__dirname, "../../../..");
export const LAB_SOURCES = path.join(ROOT, "test/real-xen/lab");
export const GUEST_SOURCES = path.join(ROOT, "test/real-xen/guest");
export const LOGS = path.join(ROOT, "build/real-xen-logs");

/** Names the directories of the labs that this clone runs, a line each. */
export const CURRENT_LABS = path.join(ROOT, "build/real-xen-lab");

export function cacheDirectory(): string {
  const cache = process.env["XDG_CACHE_HOME"] ?? path.join(os.homedir(), ".cache");
  return path.join(cache, "ioreqd/xen-lab");
}

/** The files of a lab that runs. Sockets have short paths, so it lives below /tmp. */
export function labFiles(directory: string) {
  const share = path.join(directory, "share");
  return {
    directory,
    /** What the keeper was told to run: JSON. */
    plan: path.join(directory, "plan.json"),
    /** What QEMU wants in the xl config of every guest. */
    guestLines: path.join(directory, "guest-lines"),
    /** Where clients connect. */
    socket: path.join(directory, "lab.sock"),
    /** Between QEMU and the keeper. */
    port: path.join(directory, "port.sock"),
    /** What came of the suites that were run last: JSON. */
    results: path.join(directory, "results.json"),
    /** Seen in dom0 as /share. */
    share,
    log: path.join(share, "log"),
    serial: path.join(share, "log/xen-serial.log"),
    journal: path.join(share, "log/journal.log"),
    qemu: path.join(share, "log/qemu.log"),
    /** xenconsoled writes guest-NAME.log here. */
    consoles: path.join(share, "log/xen/console"),
    transfer: path.join(share, "transfer"),
  } as const;
}

/** The lab that a suite is to use. Throws LAB_GONE outside of `npm run test:xen`. */
export function labDirectory(): string {
  const directory = process.env["IOREQD_LAB"];
  if (directory !== undefined) return directory;
  throw new IoreqdError("LAB_GONE", "IOREQD_LAB names no lab: these suites are run by npm run test:xen");
}

export type LabFiles = ReturnType<typeof labFiles>;

export function programOf(name: string): string {
  const compiled = path.join(__dirname, name);
  return existsSync(compiled) ? compiled : path.join(ROOT, "dist/test/real-xen/lab", name);
}
