// SPDX-License-Identifier: MIT
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { mapFile } from "../../src/xen/map-file.js";
import { openPty } from "../../src/xen/pty.js";

const ffi = openAdapter();
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ioreqd-map-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

test("a new file is zeroes, only its owner's, and what is stored is in it", () => {
  const path = join(dir, "state");
  writeFileSync(path, "old");
  const file = mapFile(ffi, path, { create: 8192 });
  expect(file.buffer.byteLength).toBe(8192);
  const bytes = new Uint8Array(file.buffer);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  bytes[8191] = 0x5a;
  expect(readFileSync(path)[8191]).toBe(0x5a);
  file.unmap();
  file.unmap();
  expect([bytes.length, bytes[8191]]).toEqual([0, undefined]);
  expect(statSync(path).size).toBe(8192);
});

test("two mappings of one file are the same memory", () => {
  const path = join(dir, "state");
  const writer = mapFile(ffi, path, { create: 4096 });
  const reader = mapFile(ffi, path, { readonly: true });
  Atomics.store(new Int32Array(writer.buffer), 5, -7);
  expect(Atomics.load(new Int32Array(reader.buffer), 5)).toBe(-7);
  writer.unmap();
  expect(new Int32Array(reader.buffer)[5]).toBe(-7);
  reader.unmap();
});

test("a file is mapped whole, whatever its length; an empty or missing one is refused", () => {
  const path = join(dir, "state");
  writeFileSync(path, "abcde");
  const file = mapFile(ffi, path);
  expect(Buffer.from(file.buffer).toString()).toBe("abcde");
  file.unmap();
  writeFileSync(path, "");
  expect(() => mapFile(ffi, path)).toThrow(expect.objectContaining({ code: "FILE_EMPTY" }));
  expect(() => mapFile(ffi, join(dir, "nosuch"))).toThrow(/ENOENT.*nosuch/);
});

test("a pseudo terminal has a master and a name, and bytes go through", () => {
  const pty = openPty(ffi);
  expect(pty.path).toMatch(/^\/dev\/pts\/\d+$/);
  const slave = openSync(pty.path, "r+");
  writeSync(slave, "hi\n");
  const bytes = Buffer.alloc(8);
  expect(readSync(pty.fd, bytes)).toBeGreaterThanOrEqual(3);
  expect(bytes.toString("latin1")).toMatch(/^hi/);
  closeSync(slave);
  closeSync(pty.fd);
});
