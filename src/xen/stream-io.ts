// SPDX-License-Identifier: MIT
/** Descriptors read and written by hand: what src/chardev needs of the addon and the C library. */

import { closeSync } from "node:fs";
import { type Addon, loadAddon } from "./addon.js";
import { callFailed } from "./errno.js";
import type { Bound, FfiAdapter } from "./ffi/table.js";
import { unixAddress } from "./sd-notify.js";
import { AF_UNIX, libc, POLLFD, POLLHUP, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "./tables/libc.js";

/** Clients that wait to be accepted, to be told that somebody is there already. */
const BACKLOG = 8;

export class StreamIo {
  readonly #ffi: FfiAdapter;
  readonly #libc: Bound<typeof libc>;
  readonly #addon: Addon;

  /** Throws ADDON_MISSING. */
  constructor(ffi: FfiAdapter) {
    this.#ffi = ffi;
    this.#libc = ffi.bind(libc);
    this.#addon = loadAddon();
  }

  /** Null where the kernel can't poll it. Throws an Error with code EBADF or EINVAL. */
  watch(fd: number, ready: (events: number) => void): { events(events: number): void; stop(): void } | null {
    const addon = this.#addon;
    try {
      const watcher = addon.watchStart(fd, ready);
      return { events: (events) => addon.watchFor(watcher, events), stop: () => addon.watchStop(watcher) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EPERM") return null;
      throw error;
    }
  }

  send(fd: number, file: Uint8Array, at: number, size: number, most: number): number {
    return this.#addon.streamSend(fd, file, at, size, most);
  }

  receive(fd: number, into: Uint8Array, at: number, length: number): number {
    return this.#addon.streamReceive(fd, into, at, length);
  }

  receiveByte(fd: number, into: Uint8Array, at: number, header: number): number {
    return this.#addon.socketReceive(fd, into, at, header);
  }

  /** A unix socket that listens at `path`. Throws XEN_CALL_FAILED naming the function of libc. */
  listen(path: string): number {
    const c = this.#libc;
    const fd = c.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) throw callFailed(this.#ffi.errno(), "socket", { path });
    const address = unixAddress(path);
    const steps: Array<[call: string, run: () => number]> = [
      ["bind", () => c.bind(fd, address, address.length)],
      ["listen", () => c.listen(fd, BACKLOG)],
    ];
    for (const [call, run] of steps) {
      if (run() === 0) continue;
      const error = callFailed(this.#ffi.errno(), call, { path });
      closeSync(fd);
      throw error;
    }
    return fd;
  }

  /** The next connection, or a negative errno. */
  accept(fd: number): number {
    const client = this.#libc.accept4(fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return client < 0 ? -this.#ffi.errno() : client;
  }

  /** Whether the peer of a connection is gone in both directions. */
  hungUp(fd: number): boolean {
    const entry = new DataView(new ArrayBuffer(POLLFD.size));
    entry.setInt32(POLLFD.fd, fd, true);
    const bytes = new Uint8Array(entry.buffer);
    return this.#libc.poll(bytes, 1, 0) > 0 && (entry.getInt16(POLLFD.revents, true) & POLLHUP) !== 0;
  }
}
