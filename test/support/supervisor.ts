// SPDX-License-Identifier: MIT
/**
 * What systemd does for a service that has descriptors kept, in little: a datagram socket that takes them, and
 * processes that are given them. Source: sd_notify(3), sd_listen_fds(3).
 */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { libraryTable } from "../../src/xen/ffi/table.js";
import { MSG_DONTWAIT, PROT_READ, PROT_WRITE } from "../../src/xen/tables/libc.js";
import { bindDatagram } from "./notify-socket.js";

const ffi = openAdapter();
const c = ffi.bind(
  libraryTable({
    soname: "libc.so.6",
    debian: "libc6",
    functions: {
      mmap: { returns: "pointer", takes: ["pointer", "u64", "int", "int", "int", "i64"] },
      recvmsg: { returns: "i64", takes: ["int", "pointer", "int"] },
    },
  }),
);
/** Private, anonymous. Source: Linux include/uapi/asm-generic/mman-common.h. */
const MAP_FLAGS = 0x22;
/** Source: Linux include/linux/socket.h. */
const MSG_CMSG_CLOEXEC = 0x4000_0000;

/** Places in one page: struct iovec, struct msghdr, the control message, the text. Source: recv(2), 64-bit layout. */
const PAGE = 4096;
const IOVEC = 0;
const MSGHDR = 64;
const CONTROL = 128;
const TEXT = 1024;

export class Supervisor {
  /** What it keeps, by name. */
  readonly kept = new Map<string, number>();
  /** All that it was told, a datagram each. */
  readonly told: string[] = [];
  readonly #path: string;
  readonly #keeps: boolean;
  readonly #socket: number;
  /** Address of the page, and the page. */
  readonly #base: bigint;
  readonly #view: DataView;

  /** `keeps`: false for one that keeps no descriptors, as a unit without FileDescriptorStoreMax=. */
  constructor(path: string, keeps = true) {
    this.#path = path;
    this.#keeps = keeps;
    this.#socket = bindDatagram(path);
    const page = c.mmap(null, PAGE, PROT_READ | PROT_WRITE, MAP_FLAGS, -1, 0);
    if (page === null) throw new Error("no supervisor");
    this.#base = ffi.address(page);
    this.#view = new DataView(ffi.view(page, PAGE));
  }

  /** `node ARGS` with what is kept, as LISTEN_FDS tells it. Its standard output and error are pipes. */
  start(args: readonly string[]): ChildProcess {
    const names = [...this.kept.keys()];
    // The process that becomes node is the one that LISTEN_PID names.
    const shell = ["-c", 'LISTEN_PID=$$ exec "$@"', "sh"];
    return spawn("sh", [...shell, process.execPath, ...args], {
      stdio: ["ignore", "pipe", "pipe", ...this.kept.values()],
      env: {
        ...process.env,
        NOTIFY_SOCKET: this.#path,
        LISTEN_FDS: String(names.length),
        LISTEN_FDNAMES: names.join(":"),
      },
    });
  }

  /** Take what was sent until now. */
  receive(): void {
    const view = this.#view;
    const base = this.#base;
    for (;;) {
      view.setBigUint64(IOVEC, base + BigInt(TEXT), true);
      view.setBigUint64(IOVEC + 8, BigInt(PAGE - TEXT), true);
      for (let at = MSGHDR; at < TEXT; at += 8) view.setBigUint64(at, 0n, true);
      view.setBigUint64(MSGHDR + 16, base + BigInt(IOVEC), true);
      view.setBigUint64(MSGHDR + 24, 1n, true);
      view.setBigUint64(MSGHDR + 32, base + BigInt(CONTROL), true);
      view.setBigUint64(MSGHDR + 40, BigInt(TEXT - CONTROL), true);
      const header = ffi.pointerAt(base + BigInt(MSGHDR));
      const length = Number(c.recvmsg(this.#socket, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
      if (length < 0) return;
      const text = Buffer.from(view.buffer, TEXT, length).toString();
      this.#heard(text, view.getBigUint64(MSGHDR + 40, true) > 0n ? view.getInt32(CONTROL + 16, true) : null);
    }
  }

  close(): void {
    for (const fd of this.kept.values()) closeSync(fd);
    closeSync(this.#socket);
  }

  #heard(text: string, fd: number | null): void {
    this.told.push(text);
    const name = /^FDNAME=(.*)$/m.exec(text)?.[1] ?? "";
    if (fd !== null) {
      if (this.#keeps && /^FDSTORE=1$/m.test(text)) this.kept.set(name, fd);
      else closeSync(fd);
    }
    const gone = this.kept.get(name);
    if (/^FDSTOREREMOVE=1$/m.test(text) && gone !== undefined) {
      this.kept.delete(name);
      closeSync(gone);
    }
  }
}
