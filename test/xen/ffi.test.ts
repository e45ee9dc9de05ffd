// SPDX-License-Identifier: MIT
/** One contract, two adapters. */

import { constants as osConstants } from "node:os";
import { loadAddon } from "../../src/xen/addon.js";
import { ADAPTERS } from "../../src/xen/ffi/index.js";
import { type FfiAdapter, libraryTable } from "../../src/xen/ffi/table.js";
import { libc, MAP_FAILED } from "../../src/xen/tables/libc.js";
import { installedAdapter } from "./adapters.js";

const { EBADF, EINVAL } = osConstants.errno;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const READ_WRITE = 3;

const more = libraryTable({
  soname: "libc.so.6",
  debian: "libc6",
  functions: {
    abs: { returns: "int", takes: ["int"] },
    close: { returns: "int", takes: ["int"] },
    free: { returns: "void", takes: ["pointer"] },
    htonl: { returns: "u32", takes: ["u32"] },
    htons: { returns: "u16", takes: ["u16"] },
    labs: { returns: "i64", takes: ["i64"] },
    memcpy: { returns: "pointer", takes: ["buffer", "buffer", "u64"] },
    strlen: { returns: "u64", takes: ["string"] },
    strtoull: { returns: "u64", takes: ["string", "buffer", "int"] },
    toupper: { returns: "int", takes: ["u8"] },
    function_of_the_future: { returns: "int", takes: ["int"], optional: true },
  },
});

for (const name of ADAPTERS) {
  const adapter = installedAdapter(name);
  const contract = adapter === null ? describe.skip : describe;
  contract(`FFI contract (${name}${adapter === null ? ": not installed" : ""})`, () => {
    const ffi = adapter as FfiAdapter;
    const c = ffi?.bind(libc);
    const m = ffi?.bind(more);

    test("names itself", () => expect(ffi.name).toBe(name));

    test("integers go in and come out by their width and sign", () => {
      expect(m.abs(-7)).toBe(7);
      expect(m.htons(0xfffe)).toBe(0xfeff);
      expect(m.htonl(0xffff_fffe)).toBe(0xfeff_ffff);
      expect(m.toupper(0x61)).toBe(0x41);
    });

    test("64-bit integers: number or bigint in, number out where it is exact, else bigint", () => {
      expect(m.labs(-5)).toBe(5);
      expect(m.labs(-5n)).toBe(5);
      expect(m.labs(-(2n ** 60n))).toBe(2n ** 60n);
      expect(m.strtoull("18446744073709551615", null, 10)).toBe(2n ** 64n - 1n);
      expect(m.strtoull("4503599627370496", null, 10)).toBe(2 ** 52);
    });

    test("strings go in as UTF-8, and nothing comes out of a void function", () => {
      expect(m.strlen("häuser")).toBe(7);
      expect(m.free(null)).toBeUndefined();
    });

    test("errno is that of the call just made", () => {
      expect(m.close(-1)).toBe(-1);
      expect(ffi.errno()).toBe(EBADF);
      const failed = c.mmap(null, 0, READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
      expect(ffi.errno()).toBe(EINVAL);
      expect(failed === null ? null : ffi.address(failed)).toBe(MAP_FAILED);
    });

    test("a call reads and writes the caller's typed arrays, also in the middle of a buffer", () => {
      const whole = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
      const words = new Uint32Array(2);
      m.memcpy(words, whole, 8);
      expect([...words]).toEqual([0x04030201, 0x08070605]);
      m.memcpy(whole.subarray(4), whole.subarray(1), 2);
      expect([...whole]).toEqual([1, 2, 3, 4, 2, 3, 7, 8]);
      const wide = new BigUint64Array(1);
      m.memcpy(wide, whole, 8);
      expect(wide[0]).toBe(0x0807_0302_0403_0201n);
    });

    test("a view is the memory itself: stores are seen both ways, and Atomics work on it", () => {
      const memory = c.mmap(null, 8192, READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
      if (memory === null) throw new Error("mmap");
      const view = ffi.view(memory, 8192);
      expect(view.byteLength).toBe(8192);
      const bytes = new Uint8Array(view);
      Atomics.store(bytes, 8191, 0x5a);
      const second = new Uint8Array(8);
      m.memcpy(second, new Uint8Array(view, 8184), 8);
      expect(second[7]).toBe(0x5a);
      m.memcpy(new Uint8Array(view, 4096), Uint8Array.of(9), 1);
      expect(Atomics.load(bytes, 4096)).toBe(9);
      loadAddon().detach(view);
      expect(bytes.length).toBe(0);
      expect(c.munmap(memory, 8192)).toBe(0);
    });

    test("a pointer can be made from an address, and has it", () => {
      const memory = c.mmap(null, 8192, READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
      if (memory === null) throw new Error("mmap");
      const second = ffi.pointerAt(ffi.address(memory) + 4096n);
      expect(ffi.address(second)).toBe(ffi.address(memory) + 4096n);
      const view = ffi.view(second, 4096);
      new Uint8Array(view)[0] = 77;
      const copy = new Uint8Array(1);
      m.memcpy(copy, new Uint8Array(view, 0, 1), 1);
      expect(copy[0]).toBe(77);
      loadAddon().detach(view);
      expect(c.munmap(memory, 8192)).toBe(0);
    });

    test("the same address can be mapped, viewed, detached and unmapped again and again", () => {
      for (let i = 0; i < 200; i += 1) {
        const memory = c.mmap(null, 4096, READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
        if (memory === null) throw new Error("mmap");
        const view = ffi.view(memory, 4096);
        expect(new Uint8Array(view)[0]).toBe(0);
        new Uint8Array(view)[0] = 1;
        loadAddon().detach(view);
        expect(c.munmap(memory, 4096)).toBe(0);
      }
    });

    test("an optional function the library lacks is undefined", () => {
      expect(m.function_of_the_future).toBeUndefined();
    });

    test("a required function the library lacks is named, with its library", () => {
      const table = libraryTable({
        soname: "libc.so.6",
        debian: "libc6",
        functions: { xen_nosuch: { returns: "int", takes: [] } },
      });
      expect(() => ffi.bind(table)).toThrow(
        expect.objectContaining({
          code: "SYMBOL_MISSING",
          message: expect.stringMatching(/libc\.so\.6 has no function xen_nosuch.*ioreqd doctor/),
        }),
      );
    });

    test("a library that is not there is named, with the package that has it", () => {
      const table = libraryTable({ soname: "libxennosuch.so.1", debian: "libxennosuch1", functions: {} });
      expect(() => ffi.bind(table)).toThrow(
        expect.objectContaining({
          code: "LIBRARY_MISSING",
          message: expect.stringMatching(/cannot load libxennosuch\.so\.1: .*apt install libxennosuch1.*ioreqd doctor/),
          details: { library: "libxennosuch.so.1", path: "libxennosuch.so.1", package: "libxennosuch1" },
        }),
      );
    });
  });
}

test("ffi-napi that is not installed says that it is optional", () => {
  jest.isolateModules(() => {
    jest.doMock("ffi-napi", () => {
      throw new Error("Cannot find module 'ffi-napi'\nRequire stack:\n- somewhere");
    });
    const { openAdapter: open } = require("../../src/xen/ffi/index.js") as typeof import("../../src/xen/ffi/index.js");
    expect(() => open("ffi-napi")).toThrow(
      expect.objectContaining({
        code: "ADAPTER_MISSING",
        message: expect.stringMatching(
          /^the adapter ffi-napi cannot be loaded: Cannot find module 'ffi-napi'; it is optional: npm install ffi-napi@.*ref-napi@.*--ffi/,
        ),
      }),
    );
  });
});
