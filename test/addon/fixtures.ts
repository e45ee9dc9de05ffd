// SPDX-License-Identifier: MIT
/** What stands for Xen in the addon's tests: a pipe for the event channels, a library that records notifications. */

import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Scratch {
  readonly dir = mkdtempSync(join(tmpdir(), "ioreqd-addon-"));
  readonly #fds: number[] = [];

  /** A pipe whose end never comes, as /dev/xen/evtchn: read and written through one descriptor. */
  fifo(name = "events"): { fd: number; path: string } {
    const path = join(this.dir, name);
    execFileSync("mkfifo", [path]);
    return { fd: this.open(path, constants.O_RDWR | constants.O_NONBLOCK), path };
  }

  open(path: string, flags: number): number {
    const fd = openSync(path, flags);
    this.#fds.push(fd);
    return fd;
  }

  /** A library with a xenevtchn_notify that counts in handle[0] and keeps the port in handle[1]; port 13 is not bound. */
  notifyLibrary(): string {
    const source = join(this.dir, "notify.c");
    const library = join(this.dir, "libnotify.so");
    writeFileSync(
      source,
      `#include <errno.h>
       #include <stdint.h>
       int xenevtchn_notify(void *h, uint32_t port) {
         uint32_t *seen = h;
         if (port == 13) { errno = ENOTCONN; return -1; }
         seen[0]++; seen[1] = port;
         return 0;
       }`,
    );
    execFileSync("cc", ["-shared", "-fPIC", "-o", library, source]);
    return library;
  }

  close(): void {
    for (const fd of this.#fds) closeSync(fd);
    rmSync(this.dir, { recursive: true });
  }
}

export const send = (fd: number, ...ports: number[]): void =>
  void writeSync(fd, new Uint8Array(Uint32Array.from(ports).buffer));

/** Passes of the event loop: what is pending now has been polled for. */
export async function turns(passes = 10): Promise<void> {
  for (let pass = 0; pass < passes; pass += 1) await new Promise((resolve) => setImmediate(resolve));
}
