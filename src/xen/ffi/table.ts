// SPDX-License-Identifier: MIT
/**
 * A library as a table of signatures. The table is data: an adapter binds it,
 * and its types follow from it, so a misspelt function is a compile error.
 */

/**
 * C types, by their width.
 *
 * - `pointer`: an opaque handle or an address; null is NULL.
 * - `buffer`: memory of the caller's, read or written by the call: a typed array, or null.
 * - `string`: copied as NUL-terminated UTF-8. Arguments only.
 * - 64-bit integers go in as number or bigint; they come out as a number where that is exact, else as a bigint.
 */
export type CType = "void" | "int" | "u8" | "u16" | "u32" | "u64" | "i64" | "pointer" | "buffer" | "string";

export interface Signature {
  readonly returns: Exclude<CType, "buffer" | "string">;
  readonly takes: ReadonlyArray<Exclude<CType, "void">>;
  /** Newer than the oldest library we run on: undefined where the library lacks it. */
  readonly optional?: true;
}

export interface LibraryTable {
  /** The soname, e.g. "libxenevtchn.so.1". */
  readonly soname: string;
  /** The Debian package that has it. */
  readonly debian: string;
  readonly functions: Readonly<Record<string, Signature>>;
}

declare const opaque: unique symbol;
/** A handle or an address: only compared with null and handed back. */
export interface Pointer {
  readonly [opaque]: never;
}

type InOf<T extends CType> = T extends "pointer"
  ? Pointer | null
  : T extends "buffer"
    ? NodeJS.TypedArray | null
    : T extends "u64" | "i64"
      ? number | bigint
      : T extends "string"
        ? string
        : number;

type OutOf<T extends CType> = T extends "void"
  ? undefined
  : T extends "pointer"
    ? Pointer | null
    : T extends "u64" | "i64"
      ? number | bigint
      : number;

type ArgumentsOf<T extends readonly CType[]> = { -readonly [K in keyof T]: InOf<T[K]> };

type FunctionOf<S extends Signature> = (...args: ArgumentsOf<S["takes"]>) => OutOf<S["returns"]>;

/** The functions of a table. */
export type Bound<T extends LibraryTable> = {
  readonly [K in keyof T["functions"]]: T["functions"][K] extends { readonly optional: true }
    ? FunctionOf<T["functions"][K]> | undefined
    : FunctionOf<T["functions"][K]>;
};

/** One way of calling C. All ways behave alike: test/xen/ffi.test.ts. */
export interface FfiAdapter {
  readonly name: "koffi" | "ffi-napi";
  /** Loads the library where src/xen/libraries.ts finds it. Throws LIBRARY_MISSING or SYMBOL_MISSING. */
  bind<const T extends LibraryTable>(table: T): Bound<T>;
  /** errno after the last call that failed. Read it before anything else is called. */
  errno(): number;
  /**
   * Memory at a pointer, without copying. It does not keep the memory mapped: give it to `detach` of
   * src/xen/addon.ts before unmapping, or a later access ends the process. One view of an address at a time.
   */
  view(pointer: Pointer, length: number): ArrayBuffer;
  address(pointer: Pointer): bigint;
  /** The pointer with this address. */
  pointerAt(address: bigint): Pointer;
}

/** A table with its literal types kept. */
export const libraryTable = <const T extends LibraryTable>(table: T): T => table;
