// SPDX-License-Identifier: MIT
/**
 * What a service tells systemd: ready, a status line, that it is alive, that it is ending.
 * Node.js has no datagram sockets between processes, so the C library's are used.
 * Source: sd_notify(3), systemd.service(5) WatchdogSec=.
 */

import { loadAddon } from "./addon.js";
import { callFailed } from "./errno.js";
import type { Bound, FfiAdapter } from "./ffi/table.js";
import { AF_UNIX, libc, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_DGRAM, SUN_PATH_SIZE } from "./tables/libc.js";

export type Notification = Readonly<
  Partial<
    Record<
      | "READY"
      | "MAINPID"
      | "STOPPING"
      | "STATUS"
      | "WATCHDOG"
      | "ERRNO"
      | "FDSTORE"
      | "FDSTOREREMOVE"
      | "FDNAME"
      | "FDPOLL",
      string | number
    >
  >
>;

/** Whether a supervisor started this process that wants to hear of it. */
export const isSupervised = (environment: NodeJS.ProcessEnv = process.env): boolean =>
  (environment["NOTIFY_SOCKET"] ?? "") !== "";

export class SdNotify {
  readonly #ffi: FfiAdapter;
  readonly #libc: Bound<typeof libc>;
  #fd: number;

  /**
   * Connected to the supervisor that started this process, or null where none did (no NOTIFY_SOCKET).
   * Throws XEN_CALL_FAILED naming the function of libc.
   */
  static open(ffi: FfiAdapter, environment: NodeJS.ProcessEnv = process.env): SdNotify | null {
    const path = environment["NOTIFY_SOCKET"];
    return path === undefined || path === "" ? null : new SdNotify(ffi, path);
  }

  private constructor(ffi: FfiAdapter, path: string) {
    this.#ffi = ffi;
    this.#libc = ffi.bind(libc);
    this.#fd = this.#libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw callFailed(ffi.errno(), "socket", { path });
    const address = unixAddress(path);
    if (this.#libc.connect(this.#fd, address, address.length) === 0) return;
    const error = callFailed(ffi.errno(), "connect", { path });
    this.close();
    throw error;
  }

  /** Returns 0, or the errno: a supervisor that does not listen must not end the service. Never blocks. */
  send(notification: Notification): number {
    const bytes = encode(notification);
    const sent = this.#libc.send(this.#fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    return Number(sent) < 0 ? this.#ffi.errno() : 0;
  }

  /** The same, with a descriptor, of which the supervisor has a duplicate then. Throws ADDON_MISSING. */
  sendDescriptor(notification: Notification, fd: number): number {
    return loadAddon().sendDescriptor(this.#fd, encode(notification), fd);
  }

  close(): void {
    if (this.#fd >= 0) this.#libc.close(this.#fd);
    this.#fd = -1;
  }
}

const encode = (notification: Notification): Buffer =>
  Buffer.from(
    Object.entries(notification)
      .map(([key, value]) => `${key}=${String(value).replaceAll("\n", " ")}`)
      .join("\n"),
  );

/** How often systemd wants to hear WATCHDOG=1, in ms, or null when it doesn't. Source: sd_watchdog_enabled(3). */
export function watchdogPeriod(environment: NodeJS.ProcessEnv = process.env): number | null {
  const { WATCHDOG_USEC: period, WATCHDOG_PID: pid } = environment;
  if (pid !== undefined && Number(pid) !== process.pid) return null;
  const microseconds = Number(period);
  return Number.isFinite(microseconds) && microseconds > 0 ? microseconds / 1000 : null;
}

/** struct sockaddr_un; a leading "@" stands for the abstract namespace. */
export function unixAddress(path: string): Uint8Array {
  const name = Buffer.from(path);
  if (name[0] === "@".charCodeAt(0)) name[0] = 0;
  const address = Buffer.alloc(2 + Math.min(name.length, SUN_PATH_SIZE));
  new DataView(address.buffer, address.byteOffset).setUint16(0, AF_UNIX, endianIsLittle);
  name.copy(address, 2);
  return address;
}

const endianIsLittle = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
