// SPDX-License-Identifier: MIT
/**
 * What one call into C costs, by adapter: why koffi is the default, and why the end of a request goes through the addon.
 *
 * The library called does nothing, so only the way there and back counts: an int in and out, and the shape of
 * xendevicemodel_inject_msi (a handle, a u16, a u64, a u32).
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EvtchnPort } from "../src/base/ids.js";
import { loadAddon } from "../src/xen/addon.js";
import { ADAPTERS, type AdapterName, openAdapter } from "../src/xen/ffi/index.js";
import { libraryTable } from "../src/xen/ffi/table.js";

export interface FfiFigures {
  /** Nanoseconds a call: an int in and out, and the shape of inject_msi. Null where the adapter is not installed. */
  readonly adapters: Readonly<Record<AdapterName, { readonly int: number; readonly msi: number } | null>>;
  /** Nanoseconds for the addon to store IORESP_READY and call an empty notify. */
  readonly publish: number;
  /** ffi-napi's time over koffi's, for the shape of inject_msi. Null without ffi-napi. */
  readonly ratio: number | null;
  readonly node: string;
}

const LIBRARY = `
  #include <stdint.h>
  int bench_int(int x) { return x; }
  int bench_msi(void *h, uint16_t domid, uint64_t address, uint32_t data) { return h == 0 || domid == 0 || address == 0 || data == 0; }
  int xenevtchn_notify(void *h, uint32_t port) { (void)h; (void)port; return 0; }
`;

/** Median of several runs, in nanoseconds a call. */
function nsPerCall(calls: number, call: () => void): number {
  const runs = 7;
  const times: number[] = [];
  for (let run = 0; run <= runs; run += 1) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < calls; i += 1) call();
    // The first run warms up.
    if (run > 0) times.push(Number(process.hrtime.bigint() - start) / calls);
  }
  return times.sort((a, b) => a - b)[runs >> 1] as number;
}

function measureAdapter(name: AdapterName, library: string): { int: number; msi: number } | null {
  const table = libraryTable({
    soname: library,
    debian: "",
    functions: {
      bench_int: { returns: "int", takes: ["int"] },
      bench_msi: { returns: "int", takes: ["pointer", "u16", "u64", "u32"] },
    },
  });
  let ffi: ReturnType<typeof openAdapter>;
  try {
    ffi = openAdapter(name);
  } catch {
    return null;
  }
  const lib = ffi.bind(table);
  const handle = ffi.pointerAt(0x7fff_0000_1000n);
  const calls = name === "koffi" ? 1_000_000 : 5_000;
  return {
    int: nsPerCall(calls, () => void lib.bench_int(7)),
    msi: nsPerCall(calls, () => void lib.bench_msi(handle, 7, 0xfee0_1000, 0x4041)),
  };
}

/** Compiles a small library in a temporary directory, so it needs cc. Takes about three seconds. */
export function measureFfi(): FfiFigures {
  const dir = mkdtempSync(join(tmpdir(), "ioreqd-bench-"));
  try {
    const library = join(dir, "libbench.so");
    writeFileSync(join(dir, "bench.c"), LIBRARY);
    execFileSync("cc", ["-O2", "-shared", "-fPIC", "-o", library, join(dir, "bench.c")]);
    const [koffi, napi] = ADAPTERS.map((name) => measureAdapter(name, library)) as [
      { int: number; msi: number },
      { int: number; msi: number } | null,
    ];
    const publish = loadAddon().publisher(library, 0x7fff_0000_1000n, new ArrayBuffer(4096));
    return {
      adapters: { koffi, "ffi-napi": napi },
      publish: nsPerCall(1_000_000, () => void publish(3, 42 as EvtchnPort)),
      ratio: napi === null ? null : napi.msi / koffi.msi,
      node: process.version,
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

export function printFfi(figures: FfiFigures, print: (line: string) => void = console.log): void {
  const ns = (value: number): string => `${value < 100 ? value.toFixed(1) : value.toFixed(0)} ns`;
  print(`FFI, Node ${figures.node}`);
  for (const name of ADAPTERS) {
    const measured = figures.adapters[name];
    print(
      `  ${name.padEnd(9)} ${measured === null ? "not installed" : `int ${ns(measured.int)}, shape of inject_msi ${ns(measured.msi)}`}`,
    );
  }
  print(`  ${"addon".padEnd(9)} publish ${ns(figures.publish)}`);
  if (figures.ratio !== null) print(`  ffi-napi / koffi: ${figures.ratio.toFixed(0)}`);
}

if (require.main === module) printFfi(measureFfi());
