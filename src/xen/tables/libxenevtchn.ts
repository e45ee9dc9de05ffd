// SPDX-License-Identifier: MIT
/**
 * Every function of the library. `bind_*` and `pending` return a port, or -1 with errno; the rest but
 * `open` and `fd` return 0, or -1. Source: xenevtchn.h.
 */

import { libraryTable } from "../ffi/table.js";

export const libxenevtchn = libraryTable({
  soname: "libxenevtchn.so.1",
  debian: "libxenevtchn1",
  functions: {
    xenevtchn_open: { returns: "pointer", takes: ["pointer", "u32"] },
    xenevtchn_fdopen: { returns: "pointer", takes: ["pointer", "int", "u32"], optional: true },
    xenevtchn_close: { returns: "int", takes: ["pointer"] },
    xenevtchn_fd: { returns: "int", takes: ["pointer"] },
    xenevtchn_notify: { returns: "int", takes: ["pointer", "u32"] },
    xenevtchn_bind_unbound_port: { returns: "int", takes: ["pointer", "u32"] },
    xenevtchn_bind_interdomain: { returns: "int", takes: ["pointer", "u32", "u32"] },
    xenevtchn_bind_virq: { returns: "int", takes: ["pointer", "u32"] },
    xenevtchn_unbind: { returns: "int", takes: ["pointer", "u32"] },
    xenevtchn_pending: { returns: "int", takes: ["pointer"] },
    xenevtchn_unmask: { returns: "int", takes: ["pointer", "u32"] },
    xenevtchn_restrict: { returns: "int", takes: ["pointer", "u16"] },
  },
});
