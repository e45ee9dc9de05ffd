// SPDX-License-Identifier: MIT
/** The socket of a supervisor: Node.js has no datagram sockets between processes. */

import { openAdapter } from "../../src/xen/ffi/index.js";
import { libraryTable } from "../../src/xen/ffi/table.js";
import { unixAddress } from "../../src/xen/sd-notify.js";
import { AF_UNIX, SOCK_DGRAM } from "../../src/xen/tables/libc.js";

const ffi = openAdapter();
const c = ffi.bind(
  libraryTable({
    soname: "libc.so.6",
    debian: "libc6",
    functions: {
      socket: { returns: "int", takes: ["int", "int", "int"] },
      bind: { returns: "int", takes: ["int", "buffer", "u32"] },
      recv: { returns: "i64", takes: ["int", "buffer", "u64", "int"] },
      close: { returns: "int", takes: ["int"] },
    },
  }),
);

/** A supervisor's end of the conversation. */
export function listen(path: string): { receive(): string; close(): void } {
  const fd = c.socket(AF_UNIX, SOCK_DGRAM, 0);
  const address = unixAddress(path);
  expect(c.bind(fd, address, address.length)).toBe(0);
  return {
    receive: () => {
      const bytes = Buffer.alloc(4096);
      return bytes.toString("utf8", 0, Number(c.recv(fd, bytes, bytes.length, 0)));
    },
    close: () => c.close(fd),
  };
}
