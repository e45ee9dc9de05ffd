// SPDX-License-Identifier: MIT
import { pvpanic } from "../../src/devices/pvpanic.js";
import { Machine, MEMORY } from "../support/machine.js";

function build(options = {}): Machine {
  const machine = new Machine([{ device: pvpanic, options }]);
  machine.place();
  return machine;
}
const [PANICKED, CRASH_KERNEL, SHUTDOWN] = [1, 2, 4];

test("reading tells which events it takes: all, or those the operator left", () => {
  expect(build().read(MEMORY, 1)).toBe(7);
  expect(build({ events: PANICKED }).read(MEMORY, 1)).toBe(PANICKED);
});

test("each event is told in its own words; several may come at once", () => {
  const machine = build();
  machine.write(MEMORY, PANICKED | CRASH_KERNEL, 1);
  machine.write(MEMORY, SHUTDOWN, 1);
  expect(machine.said).toEqual([
    "the guest panicked",
    "the guest panicked and handles it with a crash kernel",
    "the guest shut down",
  ]);
});

test("events are counted in its state", () => {
  const machine = build();
  const before = machine.data();
  for (let i = 0; i < 3; i += 1) machine.write(MEMORY, PANICKED, 1);
  const at = machine.tree.functions[0]?.plan.at.state ?? -1;
  const after = machine.data();
  expect(before[at]).toBe(0);
  expect(after[at]).toBe(3);
});

test("what it does not offer, and what means nothing, is not an event", () => {
  const machine = build({ events: PANICKED });
  for (const value of [0, CRASH_KERNEL, SHUTDOWN, 0xf8]) machine.write(MEMORY, value, 1);
  expect(machine.said).toEqual([]);
});

test("only bytes are taken", () => {
  const machine = build();
  machine.write(MEMORY, PANICKED, 4);
  machine.write(MEMORY, PANICKED, 2);
  expect(machine.said).toEqual([]);
  expect(machine.read(MEMORY, 4)).toBe(0xffff_ffff);
});
