// SPDX-License-Identifier: MIT
/** The socket of a supervisor: Node.js has no datagram sockets between processes. */

import { openAdapter } from "../../src/xen/ffi/index.js";
import { libraryTable } from "../../src/xen/ffi/table.js";
import { unixAddress } from "../../src/xen/sd-notify.js";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM } from "../../src/xen/tables/libc.js";

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

/** A datagram socket that has this path. Returns its descriptor. */
export function bindDatagram(path: string): number {
  const fd = c.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const address = unixAddress(path);
  if (c.bind(fd, address, address.length) !== 0) throw new Error(`no datagram socket at ${path}`);
  return fd;
}

/** A supervisor's end of the conversation. */
export function listen(path: string): { receive(): string; close(): void } {
  const fd = bindDatagram(path);
  return {
    receive: () => {
      const bytes = Buffer.alloc(4096);
      return bytes.toString("utf8", 0, Number(c.recv(fd, bytes, bytes.length, 0)));
    },
    close: () => c.close(fd),
  };
}
