// SPDX-License-Identifier: MIT
import { constants as osConstants } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { EvtchnPort } from "../../src/base/ids.js";
import { DATA_IS_PTR, DIR_READ, IOREQ, PAGE_SIZE, STATE } from "../../src/spec/xen-ioreq.js";
import { loadAddon } from "../../src/xen/addon.js";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { ADDON_PATH } from "../../src/xen/libraries.js";
import { mapFile } from "../../src/xen/map-file.js";
import { libc } from "../../src/xen/tables/libc.js";
import { Scratch } from "./fixtures.js";

const addon = loadAddon();
const ffi = openAdapter("koffi");
const { EBADF, EINVAL, ENOTCONN } = osConstants.errno;
const port = (n: number): EvtchnPort => n as EvtchnPort;
const MAP_PRIVATE_ANONYMOUS = 0x22;

let scratch: Scratch;
let library: string;
let handle: bigint;
let seen: Uint32Array;
beforeAll(() => {
  scratch = new Scratch();
  library = scratch.notifyLibrary();
  const memory = ffi.bind(libc).mmap(null, PAGE_SIZE, 3, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (memory === null) throw new Error("mmap");
  handle = ffi.address(memory);
  seen = new Uint32Array(ffi.view(memory, PAGE_SIZE));
});
beforeEach(() => seen.fill(0));
afterAll(() => scratch.close());

test("stores IORESP_READY, keeps the flags of that byte and everything else, and notifies the port", () => {
  const page = new ArrayBuffer(PAGE_SIZE);
  const bytes = new Uint8Array(page).fill(0xa5);
  const at = 5 * IOREQ.size + IOREQ.flags;
  bytes[at] = DIR_READ | DATA_IS_PTR | STATE.inProcess;
  const expected = bytes.slice();
  expected[at] = DIR_READ | DATA_IS_PTR | STATE.respReady;

  expect(addon.publisher(library, handle, page)(5, port(42))).toBe(0);
  expect(bytes).toEqual(expected);
  expect([...seen.subarray(0, 2)]).toEqual([1, 42]);
});

test("returns the errno of a failing notification; the reply is there all the same", () => {
  const page = new ArrayBuffer(PAGE_SIZE);
  expect(addon.publisher(library, handle, page)(0, port(13))).toBe(ENOTCONN);
  expect(new Uint8Array(page)[IOREQ.flags]).toBe(STATE.respReady);
});

test("a slot outside the page, or no number, is EINVAL and touches nothing", () => {
  const page = new ArrayBuffer(PAGE_SIZE);
  const publish = addon.publisher(library, handle, page);
  expect(publish(128, port(1))).toBe(EINVAL);
  expect(publish(-1, port(1))).toBe(EINVAL);
  expect((publish as (slot: unknown) => number)("0")).toBe(EINVAL);
  expect((publish as () => number)()).toBe(EINVAL);
  expect(new Uint8Array(page).every((byte) => byte === 0)).toBe(true);
  expect(seen[0]).toBe(0);
});

test("once the page is detached it returns EBADF, so an unmapped page is never written", () => {
  const file = mapFile(ffi, join(scratch.dir, "page"), { create: PAGE_SIZE });
  const publish = addon.publisher(library, handle, file.buffer);
  const other = addon.publisher(library, handle, new ArrayBuffer(PAGE_SIZE));
  expect(publish(0, port(1))).toBe(0);
  file.unmap();
  expect(publish(0, port(1))).toBe(EBADF);
  expect(other(0, port(1))).toBe(0);
});

test("revoke ends the publishers of one handle only", () => {
  const mine = addon.publisher(library, handle, new ArrayBuffer(PAGE_SIZE));
  const others = addon.publisher(library, handle + 64n, new ArrayBuffer(PAGE_SIZE));
  addon.revoke(handle);
  expect(mine(0, port(1))).toBe(EBADF);
  expect(others(0, port(1))).toBe(0);
});

test("publishers are freed with their functions, and keep their page meanwhile", () => {
  const publishers = Array.from({ length: 1000 }, () => addon.publisher(library, handle, new ArrayBuffer(PAGE_SIZE)));
  (globalThis as { gc?: () => void }).gc?.();
  for (const publish of publishers) expect(publish(127, port(1))).toBe(0);
});

test("a library without xenevtchn_notify, or none, is refused", () => {
  expect(() => addon.publisher("libc.so.6", handle, new ArrayBuffer(PAGE_SIZE))).toThrow("xenevtchn_notify");
  expect(() => addon.publisher("libnosuch.so.1", handle, new ArrayBuffer(PAGE_SIZE))).toThrow("libnosuch.so.1");
});

test("detach empties the buffer, and every view on it", () => {
  const buffer = new ArrayBuffer(64);
  const view = new Uint8Array(buffer);
  addon.detach(buffer);
  expect([buffer.byteLength, view.length, view[0]]).toEqual([0, 0, undefined]);
  view[0] = 1;
  addon.detach(buffer);
});

test("a worker has publishers of its own, and its end leaves ours alone", async () => {
  const mine = addon.publisher(library, handle, new ArrayBuffer(PAGE_SIZE));
  const code = `
    const { workerData, parentPort } = require("node:worker_threads");
    const addon = require(workerData.addon);
    const page = new ArrayBuffer(4096);
    const publish = addon.publisher(workerData.library, workerData.handle, page);
    parentPort.postMessage([publish(1, 77), new Uint8Array(page)[62]]);`;
  const worker = new Worker(code, { eval: true, workerData: { addon: ADDON_PATH, library, handle } });
  const message = await new Promise((resolve) => worker.on("message", resolve));
  await new Promise((resolve) => worker.on("exit", resolve));
  expect(message).toEqual([0, STATE.respReady]);
  expect(seen[1]).toBe(77);
  expect(mine(0, port(5))).toBe(0);
});
