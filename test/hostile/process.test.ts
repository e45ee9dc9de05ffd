// SPDX-License-Identifier: MIT
/**
 * The program itself on the simulated host, with a guest and a peer on the shared pages that mean harm. It answers,
 * goes on, stays as small as it was, and writes no more than a line a second for all of it.
 */

import { readFileSync } from "node:fs";
import { guestProgram, type Served, serve } from "../support/ioreqd.js";
import { end, whileServed } from "../support/running.js";

/** Devices at 00:10.0, 00:11.0 and 00:12.0. */
const DEVICES = ["-D", "edu,addr=00:10.0", "-D", "msix-probe,addr=00:11.0", "-D", "pvpanic,addr=00:12.0"];

/** Guest code that any of the cases may use. Slots begin at byte 4096 of the shared pages; the ring is before them. */
const TOOLS = `
  const SLOT = (n) => 4096 + n * 32, FLAGS = 30;
  const raw = (fields) => {
    const bytes = new Uint8Array(32), view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt.asUintN(64, BigInt(fields.addr ?? 0)), true);
    view.setBigUint64(8, BigInt.asUintN(64, BigInt(fields.data ?? 0)), true);
    view.setUint32(16, fields.count ?? 1, true);
    view.setUint32(20, fields.size ?? 4, true);
    view.setUint8(30, fields.flags ?? 0x20);
    view.setUint8(31, fields.type ?? 1);
    vcpu.raw(bytes);
    return view.getBigUint64(8, true);
  };
  const ONES = 0xffffffffffffffffn;
  const alive = (n = 1) => {
    vcpu.write(MEMORY + 4, 4, n);
    must(vcpu.read(MEMORY + 4, 4) === (~n >>> 0), "the device no longer answers");
  };
`;

interface Case {
  readonly name: string;
  readonly vcpus?: number;
  readonly body: string;
}

const cases: readonly Case[] = [
  {
    name: "requests of every type, size and count are answered",
    body: `
      for (let type = 0; type < 256; type++) raw({ type, addr: MEMORY });
      for (const size of [0, 3, 5, 7, 16, 0x7fffffff, 0xffffffff])
        must(raw({ size, addr: MEMORY }) === ONES, "size " + size);
      for (const count of [0, 4097, 0xffffffff]) must(raw({ count, addr: MEMORY }) === ONES, "count " + count);
      for (let flags = 0; flags < 256; flags += 16) raw({ flags, addr: MEMORY + 4, data: 0x1000 });
    `,
  },
  {
    name: "a rep into holes, ballooned pages and our own BARs ends",
    body: `
      vcpu.balloonOut(9);
      for (const data of [0x9000n, MEMORY, 0xfffffffffffff000n, 0xfffffffffffffn, 0x10_0000_0000n, 0x3fffff0n])
        for (const flags of [0x10, 0x30, 0x50, 0x70]) raw({ addr: MEMORY + 4, data, flags, count: 1024 });
      vcpu.balloonIn(9);
    `,
  },
  {
    name: "slots in states 4 to 15 are no requests, and what Xen never wrote is not answered",
    vcpus: 4,
    body: `
      // vCPU 0 asks, so that all slots are looked at; slots 2 and 3 are nobody's.
      for (let state = 4; state < 16; state++) {
        for (const n of [2, 3]) vcpu.writeShared(SLOT(n) + FLAGS, 1, 0x20 | state);
        alive(state);
      }
      for (const n of [2, 3]) vcpu.writeShared(SLOT(n) + FLAGS, 1, 0);
    `,
  },
  {
    name: "slots that become ready by nobody's request are served, and disturb nobody",
    vcpus: 4,
    body: `
      for (let i = 0; i < 500; i++) {
        for (const n of [2, 3]) {
          for (let at = 0; at < 24; at += 4) vcpu.writeShared(SLOT(n) + at, 4, Math.imul(i + at, 0x9e3779b1));
          vcpu.writeShared(SLOT(n) + 31, 1, i % 9);
          vcpu.writeShared(SLOT(n) + FLAGS, 1, ((i * 16) & 0x70) | 1);
        }
        alive(i);
      }
      for (const n of [2, 3]) vcpu.writeShared(SLOT(n) + FLAGS, 1, 0);
    `,
  },
  {
    name: "ring pointers that make no sense give nothing to do",
    body: `
      for (const [read, write] of [[0, 0xffffffff], [5, 4], [0x80000000, 0], [0, 512], [0xffffffff, 0], [7, 7]]) {
        vcpu.writeShared(0, 4, read);
        vcpu.writeShared(4, 4, write);
        alive(read >>> 16);
      }
    `,
  },
  {
    name: "entries of the ring that make no sense are taken, and applied to nobody",
    body: `
      for (let i = 0; i < 2000; i++) {
        vcpu.writeShared(8 + (i % 511) * 8, 4, Math.imul(i, 0x9e3779b1));
        vcpu.writeShared(12 + (i % 511) * 8, 4, i);
        vcpu.writeShared(4, 4, i + 1);
        if (i % 100 === 0) alive(i);
      }
    `,
  },
  {
    name: "a storm of invalidations from four vCPUs is answered",
    vcpus: 4,
    body: "for (let i = 0; i < 50; i++) vcpu.invalidate();",
  },
  {
    name: "a page that changes while it is read gives one request or the other, and nobody dies of it",
    vcpus: 3,
    body: `
      // vCPU 1 posts, vCPU 2 writes its slot meanwhile: all but state and event channel.
      const done = new Int32Array(vcpu.shared);
      if (vcpu.id === 1) {
        for (let i = 0; i < 3000; i++) raw({ addr: MEMORY + 4, data: i, flags: i & 1 ? 0x20 : 0 });
        Atomics.store(done, 8, 1);
      } else if (vcpu.id === 2) {
        for (let i = 0; Atomics.load(done, 8) === 0; i++)
          for (const at of [0, 4, 8, 16, 20]) vcpu.writeShared(SLOT(1) + at, 4, i & 1 ? MEMORY : Math.imul(i, 0x9e3779b1));
      }
    `,
  },
];

/** Lines about what the guest did: one of each kind, and one a second. */
function expectQuiet({ log }: Served, seconds: number): void {
  const lines = log.filter(({ level }) => Number(level) >= 40);
  const kinds = new Set(lines.map(({ msg, device }) => `${String(device)} ${String(msg)}`));
  expect(lines.length).toBeLessThanOrEqual(kinds.size + Math.ceil(seconds) + 1);
}

test.each(cases)("$name", async ({ vcpus = 1, body }) => {
  const start = performance.now();
  // What the first vCPU does, or all of them; it also finds the device alive in the end.
  const guest = guestProgram(`
    if (vcpu.id === 0) place(vcpu);
    vcpu.barrier();
    ${TOOLS}
    if (vcpu.id === 0 || ${/done|invalidate/.test(body)}) { ${body} }
    vcpu.barrier();
    if (vcpu.id === 0) alive(0x77);
  `);
  const served = await serve(guest, [...DEVICES, "--bufioreq", "atomic"], { vcpus });
  expect(served.result).toMatchObject({ ok: true, problems: [] });
  expect(served.log.at(-1)).toMatchObject({ msg: "stopped" });
  expectQuiet(served, (performance.now() - start) / 1000);
});

test("after thirty thousand hostile requests it has the memory it had, and as many files", async () => {
  const figures: number[] = [];
  const files: number[] = [];
  const guest = guestProgram(`
    place(vcpu);
    ${TOOLS}
    const storm = () => {
      for (let i = 0; i < 10000; i++) raw({ addr: MEMORY + (i & 0xff), data: Math.imul(i, 77), type: i % 10, count: i % 5, size: i % 9, flags: (i << 4) & 0x70 });
    };
    storm();
    for (let round = 0; round < 3; round++) {
      storm();
      vcpu.step("round");
    }
    while (vcpu.configRead("00:1f.0", 0, 4) === 0xffffffff) alive();
  `);
  const result = await whileServed(guest, [...DEVICES, "--bufioreq", "atomic"], async (running) => {
    for (let round = 0; round < 3; round += 1) {
      await running.step("round");
      figures.push(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${running.pid}/status`, "utf8"))?.[1]));
      files.push(running.open().length);
    }
    await end(running);
  });
  expect(result).toMatchObject({ ok: true, problems: [] });
  const [first, , last] = figures as [number, number, number];
  expect(last - first).toBeLessThan(32 * 1024); // KiB; garbage that is not collected yet comes and goes
  expect(files[2]).toBe(files[0]);
});
