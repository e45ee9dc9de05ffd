// SPDX-License-Identifier: MIT
/** A file in memory, shared with every process that maps it. */

import { closeSync, fstatSync, ftruncateSync, openSync } from "node:fs";
import { IoreqdError } from "../base/errors.js";
import { loadAddon } from "./addon.js";
import { callFailed } from "./errno.js";
import type { FfiAdapter } from "./ffi/table.js";
import { libc, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE } from "./tables/libc.js";

export interface MappedFile {
  readonly buffer: ArrayBuffer;
  /** Detaches the buffer, then unmaps. The file stays. A second call does nothing. */
  unmap(): void;
}

/**
 * Map `path`. With `create` (bytes) a new file of zeroes takes its place, mode 0600;
 * without, the file must exist and is mapped whole, for reading only if `readonly`: a store then ends
 * the process. So does any access to a part that another process has cut off meanwhile.
 * A file that can be written has its blocks from the start: a store to a hole ends the process (SIGBUS) once the file
 * system is full.
 * Throws fs errors, FILE_EMPTY, ADDON_MISSING and XEN_CALL_FAILED (mmap, posix_fallocate).
 */
export function mapFile(
  ffi: FfiAdapter,
  path: string,
  options: { create?: number; readonly?: boolean } = {},
): MappedFile {
  const addon = loadAddon();
  const flags = options.create !== undefined ? "w+" : options.readonly === true ? "r" : "r+";
  const fd = openSync(path, flags, 0o600);
  try {
    if (options.create !== undefined) ftruncateSync(fd, options.create);
    const length = fstatSync(fd).size;
    if (length === 0) throw new IoreqdError("FILE_EMPTY", `${path} is empty: nothing to map`, { file: path });
    const c = ffi.bind(libc);
    if (options.readonly !== true) {
      const errno = c.posix_fallocate(fd, 0, length);
      if (errno !== 0) throw callFailed(errno, "posix_fallocate", { file: path, bytes: length });
    }
    const prot = options.readonly === true ? PROT_READ : PROT_READ | PROT_WRITE;
    const memory = c.mmap(null, length, prot, MAP_SHARED, fd, 0);
    if (memory === null || ffi.address(memory) === MAP_FAILED)
      throw callFailed(ffi.errno(), "mmap", { file: path, bytes: length });
    const buffer = ffi.view(memory, length);
    let mapped = true;
    return {
      buffer,
      unmap() {
        if (!mapped) return;
        mapped = false;
        addon.detach(buffer);
        if (c.munmap(memory, length) !== 0) throw callFailed(ffi.errno(), "munmap", { file: path, bytes: length });
      },
    };
  } finally {
    closeSync(fd);
  }
}
