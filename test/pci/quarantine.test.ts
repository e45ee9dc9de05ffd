// SPDX-License-Identifier: MIT
/** Functions in quarantine, over plain memory. */

import { sbdf } from "../../src/base/ids.js";
import type { Reply } from "../../src/bus/access.js";
import { pciBridge } from "../../src/devices/pci-bridge.js";
import { msi } from "../../src/pci/capabilities/interrupts.js";
import { definePciDevice } from "../../src/pci/define.js";
import type { PciFunction } from "../../src/pci/function.js";
import { STATE, TYPE } from "../../src/spec/xen-ioreq.js";
import { Machine, MEMORY, PORTS } from "../support/machine.js";

const ALL = 0xffff_ffff;
const ident = { vendor: 0x1234, device: 0x0042, classCode: 0x00ff00 } as const;

let owed: Reply[] = [];
let outside: Array<() => void> = [];
let attached = 0;
let fails = false;
beforeEach(() => {
  owed = [];
  outside = [];
  attached = 0;
  fails = false;
});

const card = definePciDevice({
  name: "card",
  ident,
  intx: "A",
  capabilities: [msi({ vectors: 1 })],
  bars: {
    0: {
      space: "mem32",
      size: 4096,
      regs: {
        A: { at: 0, rw: ALL, reset: 7 },
        LATE: { at: 4 },
        LINE: { at: 8, rw: ALL },
        GO: { at: 12, rw: ALL },
        SEND: { at: 16, rw: ALL },
      },
    },
    1: { space: "io", size: 16, regs: { B: { at: 0, rw: ALL } } },
  },
  state: { ticks: "int32" },
  timers: ["tick"],
  attach({ bars: { 0: reg }, state, timers, intx, msi: messages, host }) {
    attached += 1;
    if (fails) throw new Error("no luck");
    reg.LATE.onReadLater((reply) => owed.push(reply));
    reg.LINE.onWrite((raw) => {
      if (raw === 0) intx.lower();
      else intx.raise();
    });
    reg.GO.onWrite((raw) => timers.tick.start(raw));
    reg.SEND.onWrite(() => void messages.send(0));
    timers.tick.onExpire(() => {
      state.ticks += 1;
    });
    outside.push(() => host(() => messages.send(0)));
  },
});

const SECOND = MEMORY + 0x0800_0000;
const first = (machine: Machine): PciFunction => machine.tree.functions[0] as PciFunction;

function quarantined(machine: Machine, fn = first(machine)): void {
  machine.quarantine.put(fn);
  machine.tree.flush();
}

/** Two cards with their BARs placed. */
function twoCards(): Machine {
  const machine = new Machine([card, card]);
  machine.place(0);
  machine.place(1);
  return machine;
}

test("a function in quarantine reads as all-ones and takes nothing; the one beside it goes on", () => {
  const machine = twoCards();
  quarantined(machine);
  const before = machine.data();
  for (const width of [1, 2, 4]) {
    const ones = 2 ** (width * 8) - 1;
    expect(machine.configRead(0, 0, width)).toBe(ones);
    expect(machine.read(MEMORY, width)).toBe(ones);
    expect(machine.in(PORTS + 0x100, width)).toBe(ones);
  }
  expect(machine.read(MEMORY, 8)).toBe(2 ** 64);
  machine.configWrite(0, 4, 0, 2);
  machine.write(MEMORY, 1);
  machine.out(PORTS + 0x100, 1);
  expect(machine.data()).toEqual(before);
  expect(machine.configRead(1, 0)).toBe(0x0042_1234);
  expect(machine.read(SECOND)).toBe(7);
});

test("what it decodes stays claimed, so that nobody else gets the accesses", () => {
  const machine = twoCards();
  const claimed = [machine.tree.claimed("mmio"), machine.tree.claimed("pio")];
  quarantined(machine);
  expect([machine.tree.claimed("mmio"), machine.tree.claimed("pio")]).toEqual(claimed);
  expect(machine.asked).toEqual([]);
});

test("its line falls, its messages are not sent, its host work and its timers do not run", async () => {
  const machine = twoCards();
  machine.write(MEMORY + 8, 1);
  machine.write(MEMORY + 12, 1);
  expect(machine.asked).toEqual(["intx 10.A raise"]);
  quarantined(machine);
  expect(machine.asked).toEqual(["intx 10.A raise", "intx 10.A lower"]);
  const before = machine.data();
  for (const work of outside.slice(0, 1)) work();
  machine.write(SECOND + 12, 1); // the neighbour's timer, started after it
  while (machine.tree.functions[1]?.timers.byName["tick"]?.running) await new Promise(setImmediate);
  expect(first(machine).timers.byName["tick"]?.running).toBe(true);
  const { at } = first(machine).plan;
  const own = (data: Uint8Array): Uint8Array => data.slice(at.config, at.messages);
  expect(own(machine.data())).toEqual(own(before));
  machine.end();
});

test("a vCPU that waits for its late answer gets all-ones", () => {
  const machine = twoCards();
  machine.read(MEMORY + 4);
  expect(machine.state()).toBe(STATE.inProcess);
  quarantined(machine);
  expect(machine.state()).toBe(STATE.respReady);
  expect(Number(machine.answer(0))).toBe(ALL);
  for (const reply of owed) reply(5);
  expect(Number(machine.answer(0))).toBe(ALL);
});

test("revived, it is as after power-on, and lives", () => {
  const machine = twoCards();
  machine.write(MEMORY, 1234);
  quarantined(machine);
  machine.quarantine.revive(first(machine));
  expect(machine.configRead(0, 0)).toBe(0x0042_1234);
  expect(machine.configRead(0, 4, 2)).toBe(0);
  machine.place(0);
  expect(machine.read(MEMORY)).toBe(7);
  machine.write(MEMORY + 8, 1);
  expect(machine.asked).toEqual(["intx 10.A raise"]);
  expect(() => machine.quarantine.revive(first(machine))).toThrow(expect.objectContaining({ code: "NOT_QUARANTINED" }));
});

test("a reset that the guest asks for is nothing that ends a quarantine", () => {
  const machine = twoCards();
  quarantined(machine);
  machine.arena.beginHost();
  first(machine).resetFunction();
  machine.arena.commit(2, 0, 0);
  machine.tree.flush();
  expect(machine.configRead(0, 0)).toBe(ALL);
});

describe("behind a bridge in quarantine", () => {
  function bridged(): Machine {
    const machine = new Machine([
      { device: pciBridge, id: "bridge" },
      { device: card, bus: "bridge", sbdf: sbdf(0, 0, 1, 0) },
      card,
    ]);
    enumerate(machine);
    return machine;
  }

  /** Bus 1, one window of 16 MiB, and BAR 0 in it. */
  function enumerate(machine: Machine): void {
    machine.configWrite(0, 0x18, 0x0001_0100);
    machine.configWrite(0, 0x20, 0xf000_f000);
    machine.configWrite(0, 0x04, 7, 2);
    machine.configWrite(1, 0x10, MEMORY);
    machine.configWrite(1, 0x04, 7, 2);
  }

  test("nothing can be reached, and it is as it was inside", () => {
    const machine = bridged();
    machine.write(MEMORY, 99);
    machine.write(MEMORY + 8, 1);
    quarantined(machine);
    expect(machine.tree.functions[1]?.isolated).toBe(true);
    expect(machine.configRead(1, 0)).toBe(ALL);
    expect(machine.read(MEMORY)).toBe(ALL);
    expect(machine.asked.at(-1)).toMatch(/^intx 10\.\w lower$/);
    expect(
      machine.arena.load(
        ((machine.tree.functions[1] as PciFunction).plan.at.bars[0] as number) + machine.arena.dataAt,
        4,
      ),
    ).toBe(99);
  });

  test("reviving the bridge resets what is behind it, as a reset of the bus does", () => {
    const machine = bridged();
    machine.write(MEMORY, 99);
    quarantined(machine);
    machine.quarantine.revive(first(machine));
    expect(machine.tree.functions[1]?.sbdf).toBe(null);
    enumerate(machine);
    expect(machine.read(MEMORY)).toBe(7);
  });
});

describe("a process that takes over", () => {
  /** Another process's view of the same arena. */
  function next(): { machine: Machine; before: Machine } {
    const before = twoCards();
    quarantined(before);
    attached = 0;
    const machine = new Machine([card, card], undefined, undefined, before.data());
    return { machine, before };
  }

  test("does not run the code of a function in quarantine, until it is revived", () => {
    const { machine } = next();
    expect(attached).toBe(1);
    expect(machine.configRead(0, 0)).toBe(ALL);
    expect(machine.read(SECOND)).toBe(7);
    machine.quarantine.revive(first(machine));
    expect(attached).toBe(2);
    expect(machine.configRead(0, 0, 2)).toBe(0x1234);
  });

  test("leaves it in quarantine when its code fails as it is revived", () => {
    const { machine } = next();
    fails = true;
    expect(() => machine.quarantine.revive(first(machine))).toThrow(
      expect.objectContaining({ code: "DEVICE_FAILED", message: expect.stringContaining("no luck") }),
    );
    expect(machine.configRead(0, 0)).toBe(ALL);
    fails = false;
    machine.quarantine.revive(first(machine));
    expect(machine.configRead(0, 0, 2)).toBe(0x1234);
  });
});

test("a buffered write to a function in quarantine goes nowhere", () => {
  const machine = twoCards();
  quarantined(machine);
  const before = machine.data();
  machine.engine.hostWork.applyBuffered(TYPE.copy, MEMORY | 0, 4, 1, 0, 0, 1);
  machine.engine.hostWork.advanced();
  expect(machine.data()).toEqual(before);
});
