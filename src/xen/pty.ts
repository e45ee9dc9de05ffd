// SPDX-License-Identifier: MIT
/** A pseudo terminal, which Node.js can't open by itself. Source: POSIX posix_openpt(3), grantpt(3), ptsname(3). */

import { closeSync, constants, openSync } from "node:fs";
import { loadAddon } from "./addon.js";
import { callFailed } from "./errno.js";
import type { FfiAdapter } from "./ffi/table.js";
import { libc, TCSANOW, TERMIOS_SIZE } from "./tables/libc.js";

export interface Pty {
  /** The master's file descriptor, which the caller closes. O_NONBLOCK: a reader that stands still must not stop us. */
  readonly fd: number;
  /** "/dev/pts/3": what the other side opens. */
  readonly path: string;
}

/** One that is read a byte at a time. Both descriptors are the caller's to close. */
export interface PtyLine extends Pty {
  /** The other end, open: while it is open nowhere, a read of the master fails. */
  readonly terminal: number;
}

/**
 * Bytes pass as they are: no echo, no line editing, no CR LF.
 * Throws fs errors, or XEN_CALL_FAILED naming the function of libc.
 */
export function openPty(ffi: FfiAdapter): Pty {
  const c = ffi.bind(libc);
  const fd = openSync("/dev/ptmx", constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  try {
    const termios = new Uint8Array(TERMIOS_SIZE);
    const check = (call: string, result: number): void => {
      if (result !== 0) throw callFailed(ffi.errno(), call, { fd });
    };
    check("grantpt", c.grantpt(fd));
    check("unlockpt", c.unlockpt(fd));
    check("tcgetattr", c.tcgetattr(fd, termios));
    c.cfmakeraw(termios);
    check("tcsetattr", c.tcsetattr(fd, TCSANOW, termios));
    return { fd, path: nameOf(ffi, fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * A pseudo terminal in packet mode, where a read of the master begins with a control byte: a new one, or one that an earlier
 * process had, given its master, and the other end if that is there too. Throws as openPty() does, and ADDON_MISSING; what was
 * given is closed then.
 */
export function openPtyLine(ffi: FfiAdapter, master: number | null = null, terminal: number | null = null): PtyLine {
  const fd = master ?? openPty(ffi).fd;
  try {
    const path = nameOf(ffi, fd);
    const packets = loadAddon().ptyPackets(fd);
    if (packets !== 0) throw callFailed(packets, "ioctl TIOCPKT", { fd });
    return { fd, path, terminal: terminal ?? openSync(path, constants.O_RDWR | constants.O_NOCTTY) };
  } catch (error) {
    for (const one of [fd, terminal]) if (one !== null) closeSync(one);
    throw error;
  }
}

function nameOf(ffi: FfiAdapter, fd: number): string {
  const name = new Uint8Array(64);
  const failed = ffi.bind(libc).ptsname_r(fd, name, name.length);
  if (failed !== 0) throw callFailed(failed, "ptsname_r", { fd });
  return Buffer.from(name).toString("latin1").replace(/\0.*$/s, "");
}
