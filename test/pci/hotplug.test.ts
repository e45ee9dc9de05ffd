// SPDX-License-Identifier: MIT
/** Functions that come to a running tree and leave it, over plain memory. */

import { type Sbdf, sbdf } from "../../src/base/ids.js";
import type { Reply } from "../../src/bus/access.js";
import { expressEndpoint } from "../../src/pci/capabilities/express.js";
import { definePciDevice } from "../../src/pci/define.js";
import type { PciFunction } from "../../src/pci/function.js";
import { DATA_IS_PTR, DIR_READ, STATE, TYPE } from "../../src/spec/xen-ioreq.js";
import { Arena } from "../../src/state/arena.js";
import type { ArenaLayout } from "../../src/state/layout.js";
import { Machine, MEMORY } from "../support/machine.js";

const ident = { vendor: 0x1234, device: 0x0042, classCode: 0x00ff00 } as const;
const reserve = { data: 8192, layout: 16_384 };
const ALL = 0xffff_ffff;

/** Answers to reads of LATE that are still to come; what the device does later, if told. */
let owed: Reply[] = [];
let later: (() => void)[] = [];

const card = definePciDevice({
  name: "card",
  ident,
  intx: "A",
  capabilities: [expressEndpoint()],
  bars: {
    0: {
      space: "mem32",
      size: 4096,
      regs: { A: { at: 0, rw: ALL }, LATE: { at: 4 }, LINE: { at: 8, rw: ALL }, GO: { at: 12, rw: ALL } },
    },
  },
  state: { count: "int32" },
  timers: ["tick"],
  attach({ bars: { 0: reg }, state, timers, intx, host }) {
    reg.LATE.onReadLater((reply) => owed.push(reply));
    reg.LINE.onWrite((raw) => {
      if (raw === 0) intx.lower();
      else intx.raise();
    });
    reg.GO.onWrite(() => timers.tick.start(0));
    timers.tick.onExpire(() => {
      state.count += 1;
    });
    later.push(() =>
      host(() => {
        reg.A.value = 0xdead;
        state.count = 77;
      }),
    );
  },
});
const plain = definePciDevice({
  name: "plain",
  ident,
  bars: { 0: { space: "mem32", size: 4096, regs: { A: { at: 0, rw: ALL } } } },
});
const broken = definePciDevice({
  name: "broken",
  ident,
  attach() {
    throw new TypeError("no such thing");
  },
});
const huge = definePciDevice({ name: "huge", ident, state: { heap: { bytes: 100_000 } } });

const at = (device: number, fn = 0) => sbdf(0, 0, device, fn);
const layoutOf = (machine: Machine): ArenaLayout => JSON.parse(machine.arena.layout()) as ArenaLayout;
const indexOf = (machine: Machine, where: number): number =>
  machine.tree.functions.findIndex((fn) => fn.sbdf === where);
const remove = (machine: Machine, where: number): void =>
  machine.hotplug.remove(machine.tree.functionAt(where as Sbdf) as PciFunction);
const ask = { device: card, options: {} } as const;

beforeEach(() => {
  owed = [];
  later = [];
});

test("a function that is added is claimed, found and used as any other", () => {
  const machine = new Machine([plain], undefined, reserve);
  machine.hotplug.add({ ...ask, sbdf: at(0x11), id: "extra" });
  expect(machine.asked).toEqual(["claim 0000:00:11.0"]);
  machine.place(1);
  machine.write(MEMORY + 0x0800_0000, 0x1234);
  expect(machine.read(MEMORY + 0x0800_0000)).toBe(0x1234);
  expect(layoutOf(machine).devices.map(({ path, device, id }) => [path, device, id])).toEqual([
    ["0000:00:10.0", "plain", undefined],
    ["0000:00:11.0", "card", "extra"],
  ]);
});

test("a function that is removed reads as all-ones, its ranges and its claim go, its line falls", () => {
  const machine = new Machine([card, plain], undefined, reserve);
  machine.place(0);
  machine.write(MEMORY + 8, 1);
  expect(machine.asked.splice(0)).toEqual(["intx 10.A raise"]);
  remove(machine, at(0x10));
  expect(machine.asked).toEqual(["give up 0000:00:10.0", "unmap mmio 0xf0000000-0xf0000fff", "intx 10.A lower"]);
  expect(machine.read(MEMORY)).toBe(ALL);
  expect(machine.post({ type: TYPE.pciConfig, flags: DIR_READ, addr: BigInt(at(0x10)) << 32n })).toBe(BigInt(ALL));
  expect(machine.released).toEqual(["0000:00:10.0 card"]);
  expect(layoutOf(machine).devices.map(({ device }) => device)).toEqual(["plain"]);
});

test("with a line that two functions share, it stays up while one of them holds it", () => {
  const machine = new Machine(
    [
      { device: card, sbdf: at(0x10, 0) },
      { device: card, sbdf: at(0x10, 1) },
    ],
    undefined,
    reserve,
  );
  machine.place(0);
  machine.place(1);
  machine.write(MEMORY + 8, 1);
  machine.write(MEMORY + 0x0800_0008, 1);
  machine.asked.length = 0;
  remove(machine, at(0x10, 1));
  expect(machine.asked).toEqual(["give up 0000:00:10.1", "unmap mmio 0xf8000000-0xf8000fff"]);
  remove(machine, at(0x10, 0));
  expect(machine.asked.at(-1)).toBe("intx 10.A lower");
});

test("places of one that has gone are given to the next, and are zeroes", () => {
  const machine = new Machine([plain], undefined, reserve);
  const { plan } = machine.hotplug.add({ ...ask, sbdf: at(0x11) });
  machine.place(1);
  machine.write(MEMORY + 0x0800_0000, 0x1234);
  remove(machine, at(0x11));
  expect(machine.arena.load(machine.arena.dataAt + (plan.at.bars[0] as number), 4)).toBe(0x1234);
  const again = machine.hotplug.add({ ...ask, sbdf: at(0x12) });
  expect(again.plan.at).toEqual(plan.at);
  machine.place(1);
  expect(machine.read(MEMORY + 0x0800_0000)).toBe(0);
});

test("fifty times added and removed is as if nothing had been", () => {
  const machine = new Machine([plain], undefined, reserve);
  const before = machine.arena.layout();
  for (let i = 0; i < 50; i += 1) {
    machine.hotplug.add({ ...ask, sbdf: at(0x11) });
    machine.place(1);
    remove(machine, at(0x11));
  }
  expect(machine.arena.layout()).toBe(before);
  expect([machine.tree.claimed("mmio"), machine.tree.functions.length]).toEqual([[], 1]);
});

test("who waits for a late answer of it gets all-ones, and who waits for another's goes on waiting", () => {
  const machine = new Machine([card, card], undefined, reserve);
  machine.place(0);
  machine.place(1);
  machine.post({ flags: DIR_READ, addr: BigInt(MEMORY + 4) }, 0);
  machine.post({ flags: DIR_READ, addr: BigInt(MEMORY + 0x0800_0004) }, 1);
  expect([machine.state(0), machine.state(1)]).toEqual([STATE.inProcess, STATE.inProcess]);
  remove(machine, at(0x10));
  expect([machine.state(0), machine.state(1), machine.engine.waiting]).toEqual([STATE.respReady, STATE.inProcess, 1]);
  expect(machine.answer(0)).toBe(BigInt(ALL));
  owed[0]?.(5);
  expect(machine.answer(0)).toBe(BigInt(ALL));
  owed[1]?.(6);
  expect(machine.answer(1)).toBe(6n);
});

test("a rep read whose element is late ends with all-ones for the rest", () => {
  const machine = new Machine([card], undefined, reserve);
  machine.place(0);
  machine.post({ flags: DIR_READ | DATA_IS_PTR, addr: BigInt(MEMORY + 4), count: 2, data: 0x1000n });
  remove(machine, at(0x10));
  expect(machine.state(0)).toBe(STATE.respReady);
  expect([...machine.ram.subarray(0x1000, 0x1008)]).toEqual([255, 255, 255, 255, 255, 255, 255, 255]);
});

test("what its code has under way when it goes does not touch who has its places then", () => {
  const machine = new Machine([plain], undefined, reserve);
  machine.hotplug.add({ ...ask, sbdf: at(0x11) });
  remove(machine, at(0x11));
  const left = later.splice(0);
  machine.hotplug.add({ ...ask, sbdf: at(0x11) });
  machine.place(1);
  for (const act of left) act();
  expect(machine.read(MEMORY + 0x0800_0000)).toBe(0);
  for (const act of later) act();
  expect(machine.read(MEMORY + 0x0800_0000)).toBe(0xdead);
});

test("its timers end with it", async () => {
  const machine = new Machine([card], undefined, reserve);
  machine.place(0);
  machine.write(MEMORY + 12, 1);
  remove(machine, at(0x10));
  await new Promise((resolve) => setTimeout(resolve, 10)); // the timer was due at once
  expect(machine.said).toEqual([]);
});

test("the header of function 0 follows the functions there are, also through a reset the guest asks for", () => {
  const machine = new Machine([card], undefined, reserve);
  const multiFunction = (): boolean => (machine.configRead(indexOf(machine, at(0x10)), 0x0e, 1) & 0x80) !== 0;
  const reset = (): void => {
    const express = machine.configRead(0, 0x34, 1);
    machine.configWrite(0, express + 8, 0x8000, 2);
  };
  expect(multiFunction()).toBe(false);
  machine.hotplug.add({ ...ask, sbdf: at(0x10, 3) });
  expect(multiFunction()).toBe(true);
  expect(machine.configRead(1, 0x0e, 1)).toBe(0x80);
  reset();
  expect(multiFunction()).toBe(true);
  machine.hotplug.add({ ...ask, sbdf: at(0x10, 5) });
  remove(machine, at(0x10, 3));
  expect(multiFunction()).toBe(true);
  remove(machine, at(0x10, 5));
  expect(multiFunction()).toBe(false);
  reset();
  expect(multiFunction()).toBe(false);
});

test("a function that shares its slot with another process's goes on saying so when its neighbours here have gone", () => {
  const machine = new Machine([{ device: card, sbdf: at(0x10), sharesSlot: true }], undefined, reserve);
  machine.hotplug.add({ ...ask, sbdf: at(0x10, 1) });
  remove(machine, at(0x10, 1));
  expect(machine.configRead(0, 0x0e, 1)).toBe(0x80);
  machine.hotplug.add({ ...ask, sbdf: at(0x11, 2), sharesSlot: true });
  expect(machine.configRead(1, 0x0e, 1)).toBe(0x80);
});

test.each([
  ["an address that is taken", { ...ask, sbdf: at(0x10) }, "SLOT_TAKEN"],
  ["a function without function 0", { ...ask, sbdf: at(0x12, 1) }, "NO_FUNCTION_0"],
  ["another bus", { ...ask, sbdf: sbdf(0, 3, 0, 0) }, "BUS_UNKNOWN"],
  ["more state than there is room for", { device: huge, options: {}, sbdf: at(0x12) }, "ARENA_FULL"],
  ["a device whose code throws", { device: broken, options: {}, sbdf: at(0x12) }, "DEVICE_FAILED"],
])("%s is refused, and nothing is left behind", (_, request, code) => {
  const machine = new Machine([plain], undefined, reserve);
  const before = machine.arena.layout();
  expect(() => machine.hotplug.add(request)).toThrow(expect.objectContaining({ code }));
  machine.tree.flush();
  expect(machine.arena.layout()).toBe(before);
  expect(machine.arena.inTransaction).toBe(false);
  expect(machine.asked).toEqual([]);
  expect(machine.tree.functions.map(({ label }) => label)).toEqual(["0000:00:10.0 plain"]);
});

test("one that the hypervisor refuses is taken back, and the header of its neighbour too", () => {
  const machine = new Machine([plain], undefined, reserve);
  const before = machine.arena.layout();
  machine.refuse = (what) => (what.startsWith("claim") ? "EINVAL" : null);
  expect(() => machine.hotplug.add({ ...ask, sbdf: at(0x10, 1) })).toThrow("EINVAL by the test");
  expect(machine.arena.layout()).toBe(before);
  expect([machine.asked, machine.said, machine.released]).toEqual([[], [], ["0000:00:10.1 card"]]);
  expect(machine.configRead(0, 0x0e, 1)).toBe(0);
});

test("what can't be removed is refused", () => {
  const machine = new Machine(
    [
      { device: card, sbdf: at(0x10, 0) },
      { device: card, sbdf: at(0x10, 1) },
    ],
    undefined,
    reserve,
  );
  expect(() => remove(machine, at(0x10))).toThrow("no guest would find 0000:00:10.1 card: remove that first");
  expect(machine.tree.functions).toHaveLength(2);
});

test("a death while a device comes leaves it there, or not", () => {
  const machine = new Machine([plain], undefined, reserve);
  const header = (arena: Arena): number =>
    arena.load(arena.dataAt + (machine.tree.functions[0]?.plan.at.config ?? 0) + 0x0e, 1);
  const found = new Set<string>();
  const die = (): void => {
    const heir = Arena.open((machine.arena.u8.buffer as ArrayBuffer).slice(0));
    heir.recover();
    const { devices } = JSON.parse(heir.layout()) as ArenaLayout;
    found.add(`${devices.length} with header type ${header(heir)}`);
  };
  const spies = (["setWord", "setLayout", "commit", "clear"] as const).map((name) => {
    const real = machine.arena[name].bind(machine.arena) as (...args: unknown[]) => void;
    return jest.spyOn(machine.arena, name).mockImplementation((...args: unknown[]) => {
      die();
      real(...args);
      die();
    });
  });
  machine.hotplug.add({ ...ask, sbdf: at(0x10, 1) });
  expect(found).toEqual(new Set(["1 with header type 0", "2 with header type 128"]));
  remove(machine, at(0x10, 1));
  expect(found).toEqual(new Set(["1 with header type 0", "2 with header type 128"]));
  for (const spy of spies) spy.mockRestore();
});
