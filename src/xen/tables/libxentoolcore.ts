// SPDX-License-Identifier: MIT
/** Every function of the library. Source: xentoolcore.h. */

import { libraryTable } from "../ffi/table.js";

export const libxentoolcore = libraryTable({
  soname: "libxentoolcore.so.1",
  debian: "libxentoolcore1",
  functions: {
    xentoolcore_restrict_all: { returns: "int", takes: ["u16"] },
  },
});
