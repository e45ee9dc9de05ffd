// SPDX-License-Identifier: MIT
/**
 * Requests that no guest of a sound Xen makes, or that a guest makes to do harm: what each is answered with, and that
 * the next one is served as if nothing had been.
 */

import { sbdf } from "../../src/base/ids.js";
import { edu } from "../../src/devices/edu.js";
import { msixProbe } from "../../src/devices/msix-probe.js";
import { pciTestdev } from "../../src/devices/pci-testdev.js";
import { q35Host } from "../../src/devices/q35-host.js";
import { AccessLog } from "../../src/observe/access-log.js";
import type { Logger } from "../../src/observe/log.js";
import { definePciDevice } from "../../src/pci/define.js";
import { DATA_IS_PTR, DIR_READ, DIRECTION_FLAG, IOREQ, STATE, TYPE } from "../../src/spec/xen-ioreq.js";
import { Machine, MEMORY, PORTS, type Request } from "../support/machine.js";

const ONES = 0xffff_ffff_ffff_ffffn;
/** Longest that one of them may take, in ms: thousands of times what a request takes. */
const LONGEST_MS = 1000;
const EDU = BigInt(MEMORY);
const PROBE = BigInt(MEMORY + 0x0800_0000);
const TABLE = PROBE + 0x0100_0000n;
const VECTORS = 8;

function build(): Machine {
  const machine = new Machine([
    { device: edu, options: { dma_mask_bits: 64 } },
    { device: msixProbe, options: { vectors: VECTORS } },
  ]);
  machine.place(0);
  machine.place(1);
  return machine;
}

/** Does it still do what it did before? */
function expectAlive(machine: Machine): void {
  machine.write(MEMORY + 4, 0x1234);
  expect(machine.read(MEMORY + 4)).toBe(~0x1234 >>> 0);
  expect(machine.counters.handlerErrors).toBe(0);
  expect(machine.arena.inTransaction).toBe(false);
}

const config = (bus: number, devfn: number, offset: number): bigint =>
  (BigInt(bus) << 40n) | (BigInt(devfn) << 32n) | BigInt(offset);

const answered: ReadonlyArray<readonly [what: string, request: Request, answer: bigint]> = [
  ...[0, 3, 5, 7, 16, 0x7fff_ffff, 0xffff_ffff].map(
    (width) => [`a size of ${width} bytes`, { addr: EDU, flags: DIR_READ, width }, ONES] as [string, Request, bigint],
  ),
  ["a count of 0", { addr: EDU, flags: DIR_READ, count: 0 }, ONES],
  ["a count of 2^32 - 1", { addr: EDU, flags: DIR_READ, count: 0xffff_ffff }, ONES],
  ["a count of one more than a page has bytes", { addr: EDU, flags: DIR_READ, count: 4097, width: 1 }, ONES],
  ["a port of 8 bytes", { type: TYPE.pio, addr: BigInt(PORTS), flags: DIR_READ, width: 8 }, ONES],
  ["a type that does not exist", { type: 3, addr: EDU, flags: DIR_READ }, ONES],
  ["a port beyond the last", { type: TYPE.pio, addr: 0x1_0000n, flags: DIR_READ }, 0xffff_ffffn],
  [
    "a port of which only the low bits are ours",
    { type: TYPE.pio, addr: 0x1_0000_c000n, flags: DIR_READ },
    0xffff_ffffn,
  ],
  ["an address of which only the low half is ours", { addr: EDU + (1n << 32n), flags: DIR_READ }, 0xffff_ffffn],
  ["an access across the end of all addresses", { addr: ONES - 1n, flags: DIR_READ, width: 8 }, ONES],
  ["a bus that is not ours", { type: TYPE.pciConfig, addr: config(7, 0x80, 0), flags: DIR_READ }, 0xffff_ffffn],
  ["a segment that is not ours", { type: TYPE.pciConfig, addr: config(0x100, 0x80, 0), flags: DIR_READ }, 0xffff_ffffn],
  [
    "four bytes at the end of configuration space",
    { type: TYPE.pciConfig, addr: config(0, 0x88, 0xffd), flags: DIR_READ },
    0xff00_0000n,
  ],
  [
    "configuration space beyond its end",
    { type: TYPE.pciConfig, addr: config(0, 0x88, 0x1000), flags: DIR_READ },
    0xffff_ffffn,
  ],
  [
    "an offset of 2^32 - 1",
    { type: TYPE.pciConfig, addr: config(0, 0x88, 0xffff_ffff), flags: DIR_READ, width: 8 },
    ONES,
  ],
  [
    "the register behind the last entry of the MSI-X table",
    { addr: TABLE + BigInt(VECTORS * 16), flags: DIR_READ },
    0n,
  ],
  ["four bytes across the end of the MSI-X table's BAR", { addr: TABLE + 0xfffen, flags: DIR_READ }, 0xffff_0000n],
];

test.each(answered)("%s: the guest gets its answer, and the next request is served", (_what, request, answer) => {
  const machine = build();
  expect(machine.post(request)).toBe(answer);
  expect(machine.state()).toBe(STATE.respReady);
  expectAlive(machine);
});

test.each(Array.from({ length: 16 }, (_, state) => state).filter((state) => state !== STATE.ready))(
  "a slot in state %i is no request, and is left as it is",
  (state) => {
    const machine = build();
    machine.post({ addr: EDU, flags: DIR_READ, state });
    expect(machine.state()).toBe(state);
    expect(machine.answer(0)).toBe(0n);
    expectAlive(machine);
  },
);

const repeated: ReadonlyArray<readonly [what: string, request: Request, faults: number]> = [
  ["into a hole of memory", { addr: EDU, flags: DATA_IS_PTR | DIR_READ, data: 0x9000_0000n, count: 64 }, 64],
  ["into a BAR of the device itself", { addr: EDU, flags: DATA_IS_PTR | DIR_READ, data: EDU, count: 64 }, 64],
  ["from the last byte of all addresses", { addr: EDU, flags: DATA_IS_PTR, data: ONES, count: 64 }, 1],
  ["backwards below address 0", { addr: 4n, flags: DATA_IS_PTR | DIR_READ | DIRECTION_FLAG, data: 4n, count: 64 }, 62],
  ["through the end of all addresses", { addr: ONES - 7n, flags: DATA_IS_PTR | DIR_READ, data: 0n, count: 64 }, 0],
];

test.each(repeated)("a rep instruction %s ends, and what is not there is counted", (_what, request, faults) => {
  const machine = build();
  machine.post(request);
  expect(machine.state()).toBe(STATE.respReady);
  expect(machine.counters).toMatchObject({ repElements: 64, memoryFaults: faults });
  expectAlive(machine);
});

test("what the page says after it was read once changes nothing of what is done", () => {
  const machine = build();
  const asked: Request = { addr: EDU + 4n, data: 0x55n, width: 4 };
  machine.engine.observer = {
    begin: () => {
      const view = new DataView(machine.page);
      view.setBigUint64(IOREQ.addr, PROBE, true);
      view.setUint32(IOREQ.count, 0xffff_ffff, true);
      view.setUint32(IOREQ.width, 3, true);
      view.setBigUint64(IOREQ.data, 0x666n, true);
      view.setUint8(IOREQ.type, 0xff);
      view.setUint8(IOREQ.flags, DIR_READ | DATA_IS_PTR | STATE.inProcess);
    },
    end: () => {},
  };
  machine.post(asked);
  machine.engine.observer = null;
  expect(machine.state()).toBe(STATE.respReady);
  expect(machine.read(MEMORY + 4)).toBe(~0x55 >>> 0);
  expect(machine.counters.malformed).toBe(0);
});

test("a slot that is posted again while its answer is owed: the new request is answered, and the old one never", () => {
  const waiting: Array<(value: number) => void> = [];
  const device = definePciDevice({
    name: "late",
    ident: { vendor: 0x1234, device: 1, classCode: 0x00ff00 },
    bars: { 0: { space: "mem32", size: 4096, regs: { LATE: { at: 0 }, ID: { at: 4, reset: 0x77 } } } },
    attach: ({ bars: { 0: reg } }) => reg.LATE.onReadLater((reply) => waiting.push(reply)),
  });
  const machine = new Machine([device]);
  machine.place();
  machine.post({ addr: BigInt(MEMORY), flags: DIR_READ });
  expect(machine.post({ addr: BigInt(MEMORY + 4), flags: DIR_READ })).toBe(0x77n);
  machine.notified.length = 0;
  waiting[0]?.(0x666);
  expect(machine.notified).toEqual([]);
  expect(machine.answer(0)).toBe(0x77n);
  expect(machine.engine.waiting).toBe(0);
});

describe("at the 4 GiB line", () => {
  // A window that ends there, with its last function's last bytes at 0xffff_ffff.
  const host = { segment: 0, bus: 0, ecam: { base: 0xf000_0000, firstBus: 0, buses: 256, claim: "window" as const } };

  test("an access across it does not come out at address 0", () => {
    const machine = new Machine([{ device: q35Host, sbdf: sbdf(0, 0, 0, 0) }, pciTestdev], [host]);
    // PCIEXBAR: the same window again, and a BAR of memory at the bottom, which no access above may reach.
    machine.configWrite(0, 0x60, 0xf000_0001);
    machine.configWrite(1, 0x10, 0x1000);
    machine.configWrite(1, 0x04, 2, 2);
    const unclaimed = machine.tree.unclaimed;
    expect(machine.read(0xffff_fffe)).toBe(0xffff_ffff);
    expect(machine.tree.unclaimed - unclaimed).toBe(4);
  });

  test("a BAR of 64 bits that ends at 8 GiB is not continued at 4 GiB", () => {
    const table = { size: 4096, regs: { BYTES: { at: 0, bytes: 4096, rw: true } } } as const;
    const device = definePciDevice({
      name: "two",
      ident: { vendor: 0x1234, device: 2, classCode: 0x00ff00 },
      bars: { 0: { space: "mem64", ...table }, 2: { space: "mem64", ...table } },
    });
    const machine = new Machine([device]);
    for (const [at, value] of [
      [0x10, 0xffff_f000],
      [0x14, 1],
      [0x18, 0],
      [0x1c, 1],
    ] as const)
      machine.configWrite(0, at, value);
    machine.configWrite(0, 0x04, 2, 2);
    machine.write(0x1_0000_0000, 0x1122_3344);
    expect(machine.read(0x1_ffff_fffe)).toBe(0xffff_0000);
    machine.write(0x1_ffff_fffe, -1);
    expect(machine.read(0x1_0000_0000)).toBe(0x1122_3344);
  });

  test("a rep access to configuration space does not go on in the next function", () => {
    const machine = build();
    const request = {
      type: TYPE.pciConfig,
      addr: config(0, 0x87, 0xffff_fffc),
      flags: DIR_READ | DATA_IS_PTR,
      width: 8,
    };
    machine.post({ ...request, data: 0x1000n, count: 2 });
    expect(machine.ram.slice(0x1000, 0x1010)).toEqual(new Uint8Array(16).fill(0xff));
  });
});

describe("DMA", () => {
  const start = (machine: Machine, from: bigint, to: bigint, count: bigint, command: number): void => {
    for (const [at, value] of [
      [0x80, from],
      [0x88, to],
      [0x90, count],
    ] as const) {
      machine.post({ addr: EDU + BigInt(at), data: value, width: 8 });
    }
    machine.write(MEMORY + 0x98, command);
  };
  const cases: ReadonlyArray<readonly [what: string, from: bigint, to: bigint, count: bigint, refused: boolean]> = [
    ["into the device's own BAR", 0x4_0000n, EDU, 64n, true],
    ["into its own DMA registers", 0x4_0000n, EDU + 0x80n, 32n, true],
    ["of no bytes at all", 0x4_0000n, 0x1000n, 0n, false],
    ["of one byte more than its buffer", 0x4_0000n, 0x1000n, 4097n, true],
    ["of 2^64 - 1 bytes", 0x4_0000n, 0x1000n, ONES, true],
    ["from behind the end of its buffer", 0x4_1000n, 0x1000n, 1n, true],
    ["from before its buffer", 0x3_ffffn, 0x1000n, 16n, true],
    ["from an address that wraps", ONES, 0x1000n, 2n, true],
    ["across the end of memory", 0x4_0000n, 0xf_fff0n, 64n, true],
  ];

  test.each(cases)("%s ends, told to the operator where it is refused", (_what, from, to, count, refused) => {
    jest.useFakeTimers({ doNotFake: ["performance"] });
    try {
      const machine = build();
      const before = machine.ram.slice();
      start(machine, from, to, count, 0x1 | 0x2);
      jest.advanceTimersByTime(1000);
      expect(machine.said.includes("DMA refused")).toBe(refused);
      expect(Buffer.compare(machine.ram, before)).toBe(0);
      expect(machine.read(MEMORY + 0x98) & 1).toBe(0); // it is over
      expect(jest.getTimerCount()).toBe(0);
      expectAlive(machine);
    } finally {
      jest.useRealTimers();
    }
  });
});

describe("a message that does not exist", () => {
  test.each([VECTORS, 2048, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])("number %i is counted as lost", (vector) => {
    const machine = build();
    machine.configWrite(1, capability(machine, 0x11) + 2, 0x8000, 2); // MSI-X on
    machine.asked.length = 0;
    machine.write(Number(PROBE) + 0x08, vector);
    expect(machine.read(Number(PROBE) + 0x24)).toBe(1);
    expect(machine.asked).toEqual([]);
    machine.write(Number(PROBE) + 0x40, vector);
    for (const of of [0x44, 0x48, 0x4c, 0x50]) expect(machine.read(Number(PROBE) + of)).toBe(0);
    expectAlive(machine);
  });

  /** Where the capability with this id is. */
  function capability(machine: Machine, id: number): number {
    let at = machine.configRead(1, 0x34, 1);
    while (machine.configRead(1, at, 1) !== id) at = machine.configRead(1, at + 1, 1);
    return at;
  }
});

test("the longest requests there are come to their end, and soon", () => {
  const machine = build();
  const start = performance.now();
  machine.post({ addr: PROBE + 8n, count: 4096, width: 1, data: 1n }); // each element fires
  machine.post({ addr: TABLE, flags: DATA_IS_PTR, count: 1024, width: 8, data: 0n });
  machine.post({ type: TYPE.pciConfig, addr: config(0, 0x80, 4), flags: DATA_IS_PTR, count: 2048, width: 4, data: 0n });
  expect(performance.now() - start).toBeLessThan(LONGEST_MS * 3);
  expect(machine.state()).toBe(STATE.respReady);
  expect(machine.counters.malformed).toBe(0);
});

test("a request of 2 GiB makes no longer line in the log than one of 8 bytes", () => {
  const machine = new Machine([{ device: msixProbe, options: { vectors: 2048 } }]);
  machine.place();
  let longest = 0;
  const trace = (fields: object): void => {
    longest = Math.max(longest, JSON.stringify(fields).length);
  };
  machine.engine.observer = new AccessLog({ trace } as unknown as Logger, machine.tree, true);
  machine.post({ addr: BigInt(MEMORY + 0x0100_0000), flags: DIR_READ, width: 0x7fff_ffff });
  expect(longest).toBeGreaterThan(0);
  expect(longest).toBeLessThan(500);
});

test("all 128 slots are served, each by its own request", () => {
  const machine = build();
  for (let slot = 0; slot < 128; slot += 1) machine.post({ addr: EDU + 4n, data: BigInt(slot) }, slot);
  for (let slot = 0; slot < 128; slot += 1) expect(machine.state(slot)).toBe(STATE.respReady);
  expect(machine.notified.slice(-128)).toEqual(Array.from({ length: 128 }, (_, slot) => slot));
});

test("what a hundred thousand requests leave behind is counters, and nothing that grows", () => {
  const machine = build();
  const { byteLength } = machine.arena.u8;
  for (let i = 0; i < 100_000; i += 1) machine.post({ addr: EDU + BigInt(i % 0x200), flags: DIR_READ, width: i % 9 });
  expect(machine.arena.u8.byteLength).toBe(byteLength);
  expect(machine.engine.waiting).toBe(0);
  expect(machine.asked).toEqual([]);
  expectAlive(machine);
});
