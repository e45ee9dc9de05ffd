// SPDX-License-Identifier: MIT
/** Xen refuses what the host is short of for, a moment long or longer. */

import { msi, msix } from "../../src/pci/capabilities/interrupts.js";
import { SecondTry } from "../../src/pci/second-try.js";
import { Machine, MEMORY } from "../support/machine.js";
import { message, PBA, program, sender } from "./sender.js";

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

const MSI_X = 0x40;

const onlyFor =
  (prefix: string, errno: "EINVAL" | "ENOMEM") =>
  (what: string): typeof errno | null =>
    what.startsWith(prefix) ? errno : null;

function started(): Machine {
  const places = { table: { bar: 0, at: 0x1000 }, pba: { bar: 0, at: 0x1800 } } as const;
  const machine = new Machine([sender(msix({ vectors: 4, ...places }), msi({ vectors: 4 }))]);
  machine.place();
  return machine;
}

/** Enable MSI-X with two vectors; what asks for each of them. */
function messages(machine: Machine): string[] {
  machine.configWrite(0, MSI_X + 2, 0x8000, 2);
  return [0, 1].map((vector) => {
    program(machine, vector);
    return message(vector);
  });
}

test("messages wait where the guest can see them, and each goes once, in their order", () => {
  const machine = started();
  const [first, second] = messages(machine);
  machine.refuse = onlyFor("msi", "ENOMEM");
  machine.write(MEMORY, 0);
  machine.write(MEMORY, 1);
  machine.write(MEMORY, 0);
  jest.advanceTimersByTime(15);
  expect(machine.asked).toEqual([]);
  expect(machine.read(PBA)).toBe(0b11);
  machine.refuse = () => null;
  jest.advanceTimersByTime(20);
  expect(machine.asked).toEqual([first, second]);
  expect(machine.read(PBA)).toBe(0);
  jest.advanceTimersByTime(1_000_000);
  expect(machine.asked).toHaveLength(2);
});

test("so do those of MSI", () => {
  const machine = started();
  const cap = machine.configRead(0, MSI_X + 1, 1);
  machine.configWrite(0, cap + 4, 0xfee0_1000);
  machine.configWrite(0, cap + 0x0c, 0x4140, 2);
  machine.configWrite(0, cap + 2, 0x21, 2);
  machine.refuse = onlyFor("msi", "ENOMEM");
  machine.write(MEMORY, 2);
  expect(machine.configRead(0, cap + 0x14)).toBe(0b100);
  machine.refuse = () => null;
  jest.advanceTimersByTime(10);
  expect(machine.asked).toEqual(["msi 0xfee01000 0x4142"]);
});

test("a message that is refused for another reason is lost, as where nobody is at the address", () => {
  const machine = started();
  messages(machine);
  machine.refuse = onlyFor("msi", "EINVAL");
  machine.write(MEMORY, 0);
  machine.refuse = () => null;
  jest.advanceTimersByTime(1_000_000);
  expect(machine.asked).toEqual([]);
  expect(machine.read(PBA)).toBe(0);
});

test("a line is told as it is by then, and not what it was in between", () => {
  const machine = started();
  machine.refuse = onlyFor("intx", "ENOMEM");
  for (const level of [1, 0, 1]) machine.write(MEMORY + 4, level);
  machine.refuse = () => null;
  jest.advanceTimersByTime(10);
  expect(machine.asked).toEqual(["intx 10.A raise"]);
});

test("a range that moved is ours at the new place, and no longer at the old, without the guest", () => {
  const machine = started();
  machine.refuse = onlyFor("map", "ENOMEM");
  machine.configWrite(0, 0x10, MEMORY + 0x10_0000);
  expect(machine.asked.splice(0)).toEqual(["unmap mmio 0xf0000000-0xf0001fff"]);
  machine.refuse = () => null;
  jest.advanceTimersByTime(10);
  expect(machine.asked.splice(0)).toEqual(["map mmio 0xf0100000-0xf0101fff"]);

  machine.refuse = onlyFor("unmap", "ENOMEM");
  machine.configWrite(0, 0x10, MEMORY);
  machine.refuse = () => null;
  jest.advanceTimersByTime(10);
  expect(machine.asked).toEqual(["map mmio 0xf0000000-0xf0001fff", "unmap mmio 0xf0100000-0xf0101fff"]);
});

test("a range that could not be given up is not asked for when the guest wants it back", () => {
  const machine = started();
  machine.refuse = onlyFor("unmap", "ENOMEM");
  machine.configWrite(0, 0x04, 0, 2);
  machine.configWrite(0, 0x04, 7, 2);
  machine.refuse = () => null;
  jest.advanceTimersByTime(1_000);
  expect(machine.asked).toEqual([]);
  expect(machine.tree.claimed("mmio")).toEqual([{ first: MEMORY, last: MEMORY + 0x1fff }]);
});

test("a process that lets go asks no more", () => {
  const machine = started();
  machine.refuse = onlyFor("intx", "ENOMEM");
  machine.write(MEMORY + 4, 1);
  machine.tree.detach();
  expect(jest.getTimerCount()).toBe(0);
});

test("asks after 10 ms, after twice as long each time, at last every minute; and anew once all was there", () => {
  const asked: number[] = [];
  let isShort = true;
  const start = Date.now();
  const again = new SecondTry(() => {
    asked.push(Date.now() - start);
    if (isShort) again.later();
  });
  again.later();
  again.later();
  jest.advanceTimersByTime(160);
  expect(asked).toEqual([10, 30, 70, 150]);
  jest.advanceTimersByTime(3_600_000);
  const gaps = asked.map((at, i) => at - (asked[i - 1] ?? 0));
  expect(gaps.slice(-3)).toEqual([60_000, 60_000, 60_000]);
  isShort = false;
  jest.advanceTimersByTime(60_000);
  expect(jest.getTimerCount()).toBe(0);
  const before = Date.now();
  again.later();
  jest.runAllTimers();
  expect(Date.now() - before).toBe(10);
});
