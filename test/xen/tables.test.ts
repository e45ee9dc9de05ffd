// SPDX-License-Identifier: MIT
/** The tables against the C headers they stand for, where libxen-dev is installed. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { LibraryTable } from "../../src/xen/ffi/table.js";
import { libxendevicemodel } from "../../src/xen/tables/libxendevicemodel.js";
import { libxenevtchn } from "../../src/xen/tables/libxenevtchn.js";
import { libxenforeignmemory } from "../../src/xen/tables/libxenforeignmemory.js";
import { libxentoolcore } from "../../src/xen/tables/libxentoolcore.js";

const INCLUDE = "/usr/include";

/** What the table calls each C type. */
const TYPES: Readonly<Record<string, string>> = {
  int: "int",
  xenevtchn_port_or_error_t: "int",
  "unsigned int": "u32",
  unsigned: "u32",
  hvmmem_type_t: "u32",
  uint8_t: "u8",
  uint16_t: "u16",
  domid_t: "u16",
  ioservid_t: "u16",
  uint32_t: "u32",
  evtchn_port_t: "u32",
  uint64_t: "u64",
  size_t: "u64",
  "unsigned long": "u64",
};
/** Pointers to memory the caller provides; all other pointers are handles or addresses. */
const BUFFERS = [
  "ioservid_t",
  "xen_pfn_t",
  "evtchn_port_t",
  "unsigned long",
  "unsigned int",
  "int",
  "size_t",
  "void *",
  "struct xen_dm_op_modified_memory_extent",
];

function typeOf(declaration: string): string {
  const text = declaration.replace(/\bconst\b/g, "").trim();
  const array = /^(.*?)\s*\w+\s*\[.*\]$/.exec(text);
  const pointer = /^(.*?)\s*\*\s*\w*$/.exec(text);
  const pointee = (array?.[1] ?? pointer?.[1])?.trim();
  if (pointee !== undefined) return BUFFERS.includes(pointee) ? "buffer" : "pointer";
  const bare = TYPES[text] ?? TYPES[text.replace(/\s*\w+$/, "")];
  if (bare === undefined) throw new Error(`no name for the C type of "${declaration}"`);
  return bare;
}

/** Every function a header declares, with its types in the table's words. */
function declared(header: string, prefix: string): Record<string, { returns: string; takes: string[] }> {
  const source = readFileSync(header, "latin1")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/^#.*$/gm, "");
  const functions: Record<string, { returns: string; takes: string[] }> = {};
  for (const [, returns, name, args] of source.matchAll(
    new RegExp(`([\\w ]+[\\s*]+)(${prefix}_\\w+)\\s*\\(([^;]*)\\)\\s*;`, "g"),
  )) {
    functions[name as string] = {
      returns: typeOf((returns as string).replace(/\s+/g, " ")),
      takes: (args as string).split(",").map((argument) => typeOf(argument.replace(/\s+/g, " "))),
    };
  }
  return functions;
}

const tables: ReadonlyArray<[string, LibraryTable]> = [
  ["xendevicemodel", libxendevicemodel],
  ["xenevtchn", libxenevtchn],
  ["xenforeignmemory", libxenforeignmemory],
  ["xentoolcore", libxentoolcore],
];

for (const [name, table] of tables) {
  const header = join(INCLUDE, `${name}.h`);
  const here = existsSync(header);
  (here ? test : test.skip)(
    `every function of ${name}.h is in the table, with its types${here ? "" : ": no libxen-dev here"}`,
    () => {
      const signatures = Object.fromEntries(
        Object.entries(table.functions).map(([symbol, { returns, takes }]) => [symbol, { returns, takes: [...takes] }]),
      );
      expect(signatures).toEqual(declared(header, name));
    },
  );
}
