// SPDX-License-Identifier: MIT
/** The few functions of the C library that Node.js lacks: mapping a file, opening a pseudo terminal. */

import { libraryTable } from "../ffi/table.js";

export const libc = libraryTable({
  soname: "libc.so.6",
  debian: "libc6",
  functions: {
    mmap: { returns: "pointer", takes: ["pointer", "u64", "int", "int", "int", "i64"] },
    munmap: { returns: "int", takes: ["pointer", "u64"] },
    grantpt: { returns: "int", takes: ["int"] },
    unlockpt: { returns: "int", takes: ["int"] },
    tcgetattr: { returns: "int", takes: ["int", "buffer"] },
    cfmakeraw: { returns: "void", takes: ["buffer"] },
    tcsetattr: { returns: "int", takes: ["int", "int", "buffer"] },
    /** Returns the errno itself. */
    ptsname_r: { returns: "int", takes: ["int", "buffer", "u64"] },
  },
});

/** Bytes that hold a struct termios, and tcsetattr's TCSANOW. Source: termios(3); glibc's struct has 60. */
export const TERMIOS_SIZE = 256;
export const TCSANOW = 0;

/** Source: Linux include/uapi/asm-generic/mman-common.h. */
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;
/** mmap's MAP_FAILED, as an address. */
export const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
