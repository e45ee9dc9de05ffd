// SPDX-License-Identifier: MIT
/**
 * The second adapter: ffi-napi and ref-napi, some 10 us a call. Optional: it is
 * loaded only when asked for, and may not be installed.
 */

import { locate } from "../libraries.js";
import { missingAdapter, missingLibrary, missingSymbol } from "./missing.js";
import type { Bound, CType, FfiAdapter, LibraryTable, Pointer, Signature } from "./table.js";

interface DynamicLibrary {
  get(name: string): Buffer;
}
interface FfiNapi {
  DynamicLibrary(path: string, mode: number): DynamicLibrary;
  ForeignFunction(pointer: Buffer, returns: string, takes: readonly string[]): (...args: unknown[]) => unknown;
  errno(): number;
}
interface RefNapi {
  reinterpret(buffer: Buffer, length: number, offset: number): Buffer;
  hexAddress(buffer: Buffer): string;
  isNull(buffer: Buffer): boolean;
  readPointer(buffer: Buffer, offset: number, length: number): Buffer;
}

/** ffi-napi itself no longer compiles on Node.js 20; this fork of it does. */
const PACKAGES = "ffi-napi@npm:@2060.io/ffi-napi ref-napi@npm:@2060.io/ref-napi";
const RTLD_NOW = 2;

const REF_NAMES: Readonly<Record<CType, string>> = {
  void: "void",
  int: "int",
  u8: "uint8",
  u16: "uint16",
  u32: "uint32",
  u64: "uint64",
  i64: "int64",
  pointer: "pointer",
  buffer: "pointer",
  string: "string",
};

/** Throws ADAPTER_MISSING where the packages are not installed. */
export function ffiNapiAdapter(): FfiAdapter {
  const ffi = load<FfiNapi>("ffi-napi");
  const ref = load<RefNapi>("ref-napi");
  let lastErrno = 0;

  const pointerAt = (address: bigint): Pointer => {
    const cell = Buffer.alloc(8);
    cell.writeBigUInt64LE(address);
    return ref.readPointer(cell, 0, 0) as unknown as Pointer;
  };

  const wrap = (raw: (...args: unknown[]) => unknown, { takes, returns }: Signature) => {
    return (...args: unknown[]): unknown => {
      const result = raw(...args.map((value, i) => toC(value, takes[i] as CType)));
      // At once: what follows allocates.
      lastErrno = ffi.errno();
      if (returns === "void") return undefined;
      if (returns === "pointer") return ref.isNull(result as Buffer) ? null : result;
      return typeof result === "string" ? BigInt(result) : result;
    };
  };

  return {
    name: "ffi-napi",
    bind<const T extends LibraryTable>(table: T): Bound<T> {
      const path = locate(table.soname);
      const library = open(ffi, table, path);
      const functions = Object.entries<Signature>(table.functions).map(([name, signature]) => {
        let symbol: Buffer;
        try {
          symbol = library.get(name);
        } catch (error) {
          if (signature.optional === true) return [name, undefined];
          throw missingSymbol(table, path, name, error);
        }
        const takes = signature.takes.map((type) => REF_NAMES[type]);
        return [name, wrap(ffi.ForeignFunction(symbol, REF_NAMES[signature.returns], takes), signature)];
      });
      return Object.fromEntries(functions) as Bound<T>;
    },
    errno: () => lastErrno,
    view(pointer, length) {
      const memory = ref.reinterpret(pointer as unknown as Buffer, length, 0);
      return memory.buffer as ArrayBuffer;
    },
    address: (pointer) => BigInt(`0x${ref.hexAddress(pointer as unknown as Buffer)}`),
    pointerAt,
  };
}

/** ffi-napi takes Buffers for pointers, and 64-bit numbers beyond 2^53 as text. */
function toC(value: unknown, type: CType): unknown {
  if (ArrayBuffer.isView(value) && !Buffer.isBuffer(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (type === "u64" || type === "i64") return String(value);
  return value;
}

function open(ffi: FfiNapi, table: LibraryTable, path: string): DynamicLibrary {
  try {
    return ffi.DynamicLibrary(path, RTLD_NOW);
  } catch (error) {
    throw missingLibrary(table, path, error);
  }
}

function load<T>(name: string): T {
  try {
    return require(name) as T;
  } catch (error) {
    throw missingAdapter("ffi-napi", PACKAGES, error);
  }
}
