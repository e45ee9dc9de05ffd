// SPDX-License-Identifier: MIT
/**
 * Descriptors that outlive the process: the supervisor keeps a duplicate of each, and gives it to the process that
 * comes next. Source: sd_notify(3) FDSTORE=1, sd_listen_fds_with_names(3), systemd.service(5) FileDescriptorStoreMax=.
 */

import { closeSync } from "node:fs";
import type { Notification } from "./sd-notify.js";

/** Descriptors of other processes' making begin here. Source: sd_listen_fds(3), SD_LISTEN_FDS_START. */
const FIRST = 3;
/** Source: sd_notify(3), FDNAME=. */
const LONGEST_NAME = 255;

/** Where descriptors are sent: SdNotify. */
export interface Supervisor {
  send(notification: Notification): number;
  sendDescriptor(notification: Notification, fd: number): number;
}

export class DescriptorStore {
  readonly #supervisor: Supervisor | null;
  /** By name: what was given to this process and not asked for yet. */
  readonly #given: Map<string, number>;
  readonly #kept = new Set<string>();
  #leaving = false;

  /** `supervisor`: null where there is none; then nothing is kept. Takes what the environment says was given. */
  constructor(supervisor: Supervisor | null, environment: NodeJS.ProcessEnv = process.env) {
    this.#supervisor = supervisor;
    this.#given = givenDescriptors(environment);
    for (const name of this.#given.keys()) this.#kept.add(name);
  }

  /** What was kept under this name: the caller's now. */
  take(name: string): number | null {
    const fd = this.#given.get(name) ?? null;
    this.#given.delete(name);
    return fd;
  }

  /** Keep a duplicate. Returns 0, or the errno: then it goes with this process, as without a supervisor. */
  keep(name: string, fd: number): number {
    if (this.#supervisor === null || this.#kept.has(name)) return 0;
    // What a dead reader does to a terminal is no reason to drop it: FDPOLL=0.
    const errno = this.#supervisor.sendDescriptor({ FDSTORE: 1, FDNAME: name, FDPOLL: "0" }, fd);
    if (errno === 0) this.#kept.add(name);
    return errno;
  }

  /** This process goes, and another comes: from now on nothing is forgotten. */
  leave(): void {
    this.#leaving = true;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  forget(name: string): void {
    if (!this.#leaving && this.#kept.delete(name)) this.#supervisor?.send({ FDSTOREREMOVE: 1, FDNAME: name });
  }

  /** An orderly end: nobody comes next. */
  forgetAll(): void {
    for (const name of [...this.#kept]) this.forget(name);
    for (const fd of this.#given.values()) closeSync(fd);
    this.#given.clear();
  }
}

/** A name the supervisor takes: no ":", no control character. */
export const storeName = (...parts: string[]): string =>
  parts
    .map((part) => encodeURIComponent(part))
    .join("/")
    .slice(-LONGEST_NAME);

function givenDescriptors({
  LISTEN_PID: pid,
  LISTEN_FDS: count,
  LISTEN_FDNAMES: names = "",
}: NodeJS.ProcessEnv): Map<string, number> {
  if (Number(pid) !== process.pid) return new Map();
  const given = new Map<string, number>();
  names
    .split(":")
    .slice(0, Number(count) || 0)
    .forEach((name, i) => {
      const twice = given.get(name);
      if (twice === undefined) given.set(name, FIRST + i);
      else closeSync(FIRST + i);
    });
  return given;
}
