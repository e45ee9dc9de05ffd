// SPDX-License-Identifier: MIT
import { definePciDevice } from "../../src/pci/define.js";
import { PHASE } from "../../src/state/arena.js";
import { Machine, MEMORY } from "../support/machine.js";

/** Writing n to START lets the timer run out after n ms; EXPIRED counts. */
const device = (handler: () => void) =>
  definePciDevice({
    name: "alarm",
    ident: { vendor: 0x1234, device: 1, classCode: 0x00ff00 },
    bars: { 0: { space: "mem32", size: 4096, regs: { START: { at: 0 }, EXPIRED: { at: 4 }, STOP: { at: 8 } } } },
    state: { note: "int32", page: { bytes: 6 } },
    timers: ["alarm"],
    attach({ bars: { 0: reg }, timers, state }) {
      reg.START.onWrite((ms) => {
        timers.alarm.start(ms);
        state.note = ms;
        state.page.set(5, ms);
      });
      reg.STOP.onWrite(() => timers.alarm.stop());
      reg.STOP.onRead(() => state.note | state.page.get(5));
      timers.alarm.onExpire(() => {
        reg.EXPIRED.value += 1;
        handler();
      });
    },
  });

function build(handler: () => void = () => {}): Machine {
  const machine = new Machine([device(handler)]);
  machine.place();
  return machine;
}

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test("a timer expires once, not before its time", () => {
  const machine = build();
  machine.write(MEMORY, 10);
  jest.advanceTimersByTime(9);
  expect(machine.read(MEMORY + 4)).toBe(0);
  jest.advanceTimersByTime(100);
  expect(machine.read(MEMORY + 4)).toBe(1);
});

test("starting again postpones, stopping forgets", () => {
  const machine = build();
  machine.write(MEMORY, 10);
  jest.advanceTimersByTime(8);
  machine.write(MEMORY, 10);
  jest.advanceTimersByTime(8);
  expect(machine.read(MEMORY + 4)).toBe(0);
  machine.write(MEMORY + 8, 1);
  jest.advanceTimersByTime(1000);
  expect(machine.read(MEMORY + 4)).toBe(0);
});

test("a handler that throws is undone and counted once: its timer does not come back for ever", () => {
  const machine = build(() => {
    throw new Error("a bug in a device");
  });
  machine.write(MEMORY, 10);
  jest.advanceTimersByTime(1000);
  expect(machine.counters.handlerErrors).toBe(1);
  expect(machine.read(MEMORY + 4)).toBe(0);
});

test("a handler may start its own timer again", () => {
  let left = 3;
  const machine: Machine = build(() => {
    left -= 1;
    if (left > 0) machine.tree.functions[0]?.timers.byName["alarm"]?.start(10);
  });
  machine.write(MEMORY, 10);
  jest.advanceTimersByTime(1000);
  expect(machine.read(MEMORY + 4)).toBe(3);
});

test("a reset stops timers and clears declared state", () => {
  const machine = build();
  const asNew = machine.data();
  machine.write(MEMORY, 10);
  expect(machine.read(MEMORY + 8)).toBe(10);
  machine.arena.beginHost();
  machine.tree.reset();
  machine.arena.commit(PHASE.committed, 0, 0);
  machine.tree.flush();
  machine.place();
  jest.advanceTimersByTime(1000);
  expect(machine.read(MEMORY + 4)).toBe(0);
  expect(machine.read(MEMORY + 8)).toBe(0);
  // The deadline of a timer that does not run means nothing; all else is as on the first day.
  const places = machine.tree.functions[0]?.plan.at;
  const now = machine.data();
  expect(now.subarray(0, places?.timers)).toEqual(asNew.subarray(0, places?.timers));
});
