// SPDX-License-Identifier: MIT
/** The few functions of the C library that Node.js lacks: mapping a file that has no holes, a pseudo terminal, sockets between processes. */

import { libraryTable } from "../ffi/table.js";

export const libc = libraryTable({
  soname: "libc.so.6",
  debian: "libc6",
  functions: {
    mmap: { returns: "pointer", takes: ["pointer", "u64", "int", "int", "int", "i64"] },
    munmap: { returns: "int", takes: ["pointer", "u64"] },
    /** Returns the errno itself. */
    posix_fallocate: { returns: "int", takes: ["int", "i64", "i64"] },
    flock: { returns: "int", takes: ["int", "int"] },
    grantpt: { returns: "int", takes: ["int"] },
    unlockpt: { returns: "int", takes: ["int"] },
    tcgetattr: { returns: "int", takes: ["int", "buffer"] },
    cfmakeraw: { returns: "void", takes: ["buffer"] },
    tcsetattr: { returns: "int", takes: ["int", "int", "buffer"] },
    /** Returns the errno itself. */
    ptsname_r: { returns: "int", takes: ["int", "buffer", "u64"] },
    socket: { returns: "int", takes: ["int", "int", "int"] },
    connect: { returns: "int", takes: ["int", "buffer", "u32"] },
    bind: { returns: "int", takes: ["int", "buffer", "u32"] },
    listen: { returns: "int", takes: ["int", "int"] },
    accept4: { returns: "int", takes: ["int", "buffer", "buffer", "int"] },
    poll: { returns: "int", takes: ["buffer", "u64", "int"] },
    send: { returns: "i64", takes: ["int", "buffer", "u64", "int"] },
    close: { returns: "int", takes: ["int"] },
  },
});

/** Source: Linux include/uapi/asm-generic/fcntl.h. */
export const LOCK_EX = 2;
export const LOCK_NB = 4;

/** Bytes that hold a struct termios, and tcsetattr's TCSANOW. Source: termios(3); glibc's struct has 60. */
export const TERMIOS_SIZE = 256;
export const TCSANOW = 0;

/** Source: Linux include/uapi/asm-generic/mman-common.h. */
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;
/** Source: Linux include/linux/socket.h, include/linux/net.h; the size of struct sockaddr_un's path is in unix(7). */
export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const SUN_PATH_SIZE = 108;
/** Source: Linux include/uapi/asm-generic/poll.h; struct pollfd is in poll(2). */
export const POLLHUP = 0x10;
export const POLLFD = { size: 8, fd: 0, events: 4, revents: 6 } as const;
/** mmap's MAP_FAILED, as an address. */
export const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
