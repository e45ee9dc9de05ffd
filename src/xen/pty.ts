// SPDX-License-Identifier: MIT
/** A pseudo terminal, which Node.js can't open by itself. Source: POSIX posix_openpt(3), grantpt(3), ptsname(3). */

import { closeSync, constants, openSync } from "node:fs";
import { callFailed } from "./errno.js";
import type { FfiAdapter } from "./ffi/table.js";
import { libc } from "./tables/libc.js";

export interface Pty {
  /** The master's file descriptor, open with O_NONBLOCK: a reader that stands still must not stop us. The caller closes it. */
  readonly fd: number;
  /** "/dev/pts/3": what the other side opens. */
  readonly path: string;
}

/** Throws fs errors, or XEN_CALL_FAILED naming the function of libc. */
export function openPty(ffi: FfiAdapter): Pty {
  const c = ffi.bind(libc);
  const fd = openSync("/dev/ptmx", constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  const name = new Uint8Array(64);
  const failed =
    c.grantpt(fd) !== 0
      ? "grantpt"
      : c.unlockpt(fd) !== 0
        ? "unlockpt"
        : c.ptsname_r(fd, name, name.length) !== 0
          ? "ptsname_r"
          : null;
  if (failed !== null) {
    const error = callFailed(failed, { fd }, ffi.errno());
    closeSync(fd);
    throw error;
  }
  return { fd, path: Buffer.from(name).toString("latin1").replace(/\0.*$/s, "") };
}
