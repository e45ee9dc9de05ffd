// SPDX-License-Identifier: MIT
/**
 * Every function of the library. size_t and unsigned long are 64 bits on every machine Xen runs on with us.
 * Source: xenforeignmemory.h.
 */

import { libraryTable } from "../ffi/table.js";

export const libxenforeignmemory = libraryTable({
  soname: "libxenforeignmemory.so.1",
  debian: "libxenforeignmemory1",
  functions: {
    xenforeignmemory_open: { returns: "pointer", takes: ["pointer", "u32"] },
    xenforeignmemory_close: { returns: "int", takes: ["pointer"] },
    xenforeignmemory_map: { returns: "pointer", takes: ["pointer", "u32", "int", "u64", "buffer", "buffer"] },
    xenforeignmemory_map2: {
      returns: "pointer",
      takes: ["pointer", "u32", "pointer", "int", "int", "u64", "buffer", "buffer"],
    },
    xenforeignmemory_unmap: { returns: "int", takes: ["pointer", "pointer", "u64"] },
    xenforeignmemory_restrict: { returns: "int", takes: ["pointer", "u16"] },
    xenforeignmemory_map_resource: {
      returns: "pointer",
      takes: ["pointer", "u16", "u32", "u32", "u64", "u64", "buffer", "int", "int"],
    },
    xenforeignmemory_unmap_resource: { returns: "int", takes: ["pointer", "pointer"] },
    xenforeignmemory_resource_size: {
      returns: "int",
      takes: ["pointer", "u16", "u32", "u32", "buffer"],
      optional: true,
    },
  },
});
