// SPDX-License-Identifier: MIT
import { IoreqdError, messageOf } from "../../base/errors.js";
import type { LibraryTable } from "./table.js";

export function missingLibrary(table: LibraryTable, path: string, cause: unknown): IoreqdError {
  return new IoreqdError(
    "LIBRARY_MISSING",
    `cannot load ${path}: ${messageOf(cause)}; install it (Debian: apt install ${table.debian}), and see ioreqd doctor`,
    { library: table.soname, path, package: table.debian },
    { cause },
  );
}

export function missingSymbol(table: LibraryTable, path: string, symbol: string, cause: unknown): IoreqdError {
  return new IoreqdError(
    "SYMBOL_MISSING",
    `${path} has no function ${symbol}: it is older than Xen 4.15; upgrade ${table.debian}, and see ioreqd doctor`,
    { library: table.soname, path, symbol },
    { cause },
  );
}

/** `packages`: what npm has to install, as it takes them. */
export function missingAdapter(name: string, packages: string, cause: unknown): IoreqdError {
  const advice =
    name === "koffi" ? `npm install ${packages}` : `it is optional: npm install ${packages}, or leave --ffi out`;
  return new IoreqdError(
    "ADAPTER_MISSING",
    `the adapter ${name} cannot be loaded: ${firstLine(messageOf(cause))}; ${advice}`,
    { adapter: name },
    { cause },
  );
}

/** Node adds the stack of requires to "Cannot find module". */
const firstLine = (text: string): string => text.split("\n", 1)[0] as string;
