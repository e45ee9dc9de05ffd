// SPDX-License-Identifier: MIT
/** The default adapter: koffi, some 40 ns a call. */

import { locate } from "../libraries.js";
import { missingAdapter, missingLibrary, missingSymbol } from "./missing.js";
import type { Bound, CType, FfiAdapter, LibraryTable, Pointer, Signature } from "./table.js";

type Koffi = typeof import("koffi", { with: { "resolution-mode": "import" }});

const C_NAMES: Readonly<Record<CType, string>> = {
  void: "void",
  int: "int",
  u8: "uint8_t",
  u16: "uint16_t",
  u32: "uint32_t",
  u64: "uint64_t",
  i64: "int64_t",
  // koffi's pointers are bigints, and NULL is null. Typed arrays go as they are.
  pointer: "void *",
  buffer: "void *",
  string: "const char *",
};

/** Throws ADAPTER_MISSING. */
export function koffiAdapter(): FfiAdapter {
  const koffi = load();
  return {
    name: "koffi",
    bind<const T extends LibraryTable>(table: T): Bound<T> {
      const path = locate(table.soname);
      const library = open(koffi, table, path);
      const functions = Object.entries<Signature>(table.functions).map(([name, { returns, takes, optional }]) => {
        try {
          const types = takes.map((type) => C_NAMES[type]);
          return [name, library.func(name, C_NAMES[returns], types)];
        } catch (error) {
          if (optional === true) return [name, undefined];
          throw missingSymbol(table, path, name, error);
        }
      });
      return Object.fromEntries(functions) as Bound<T>;
    },
    // Itself, and not a function around it, which V8 would have to compile in between.
    errno: koffi.errno as () => number,
    view: (pointer, length) => koffi.view(pointer, length),
    address: (pointer) => pointer as unknown as bigint,
    pointerAt: (address) => address as unknown as Pointer,
  };
}

function open(koffi: Koffi, table: LibraryTable, path: string) {
  try {
    return koffi.load(path);
  } catch (error) {
    throw missingLibrary(table, path, error);
  }
}

function load(): Koffi {
  try {
    return require("koffi") as Koffi;
  } catch (error) {
    throw missingAdapter("koffi", "koffi", error);
  }
}
