// SPDX-License-Identifier: MIT
/** One process at a time: a lock that its holder's end releases, however it ends. */

import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import { callFailed, EWOULDBLOCK } from "./errno.js";
import type { FfiAdapter } from "./ffi/table.js";
import { LOCK_EX, LOCK_NB, libc } from "./tables/libc.js";

export interface FileLock {
  readonly path: string;
  /** Let go of it. The file stays; removed before, it is a lock that nobody else can take. A second call does nothing. */
  release(): void;
}

/** Take the lock of a file, which is made where there is none. Null when another process has it. Throws fs errors, XEN_CALL_FAILED (flock). */
export function lockFile(ffi: FfiAdapter, path: string): FileLock | null {
  const { flock } = ffi.bind(libc);
  for (;;) {
    const fd = openSync(path, "a", 0o600);
    if (flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      const errno = ffi.errno();
      closeSync(fd);
      if (errno === EWOULDBLOCK) return null;
      throw callFailed(errno, "flock", { file: path });
    }
    // Its holder may have removed it between our two calls: then this is a lock of nothing.
    if (fstatSync(fd).ino === statSync(path, { throwIfNoEntry: false })?.ino) return { path, release: releaser(fd) };
    closeSync(fd);
  }
}

function releaser(fd: number): () => void {
  let held = true;
  return () => {
    if (held) closeSync(fd);
    held = false;
  };
}
