// SPDX-License-Identifier: MIT
/** A pseudo terminal, which Node.js can't open by itself. Source: POSIX posix_openpt(3), grantpt(3), ptsname(3). */

import { closeSync, constants, openSync } from "node:fs";
import { callFailed } from "./errno.js";
import type { FfiAdapter } from "./ffi/table.js";
import { libc, TCSANOW, TERMIOS_SIZE } from "./tables/libc.js";

export interface Pty {
  /** The master's file descriptor, which the caller closes. O_NONBLOCK: a reader that stands still must not stop us. */
  readonly fd: number;
  /** "/dev/pts/3": what the other side opens. */
  readonly path: string;
}

/**
 * Bytes pass as they are: no echo, no line editing, no CR LF.
 * Throws fs errors, or XEN_CALL_FAILED naming the function of libc.
 */
export function openPty(ffi: FfiAdapter): Pty {
  const c = ffi.bind(libc);
  const fd = openSync("/dev/ptmx", constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  const name = new Uint8Array(64);
  const termios = new Uint8Array(TERMIOS_SIZE);
  const steps: Array<[call: string, run: () => number]> = [
    ["grantpt", () => c.grantpt(fd)],
    ["unlockpt", () => c.unlockpt(fd)],
    ["ptsname_r", () => c.ptsname_r(fd, name, name.length)],
    ["tcgetattr", () => c.tcgetattr(fd, termios)],
    [
      "tcsetattr",
      () => {
        c.cfmakeraw(termios);
        return c.tcsetattr(fd, TCSANOW, termios);
      },
    ],
  ];
  for (const [call, run] of steps) {
    if (run() === 0) continue;
    const error = callFailed(call, { fd }, ffi.errno());
    closeSync(fd);
    throw error;
  }
  return { fd, path: Buffer.from(name).toString("latin1").replace(/\0.*$/s, "") };
}
