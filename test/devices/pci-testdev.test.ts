// SPDX-License-Identifier: MIT
import { pciTestdev } from "../../src/devices/pci-testdev.js";
import { TYPE } from "../../src/spec/xen-ioreq.js";
import { Machine, MEMORY, PORTS } from "../support/machine.js";

const [TEST, WIDTH, OFFSET, DATA, COUNT, NAME] = [0x00, 0x01, 0x04, 0x08, 0x0c, 0x10];
const NO_TEST = 0xff;

describe.each([
  ["memory", MEMORY, TYPE.copy, "mmio-no-eventfd"],
  ["ports", PORTS + 0x100, TYPE.pio, "portio-no-eventfd"],
] as const)("%s", (_space, base, type, name) => {
  function build() {
    const machine = new Machine([pciTestdev]);
    machine.place();
    const read = (at: number, width = 4): number => machine.read(base + at, width, type);
    const write = (at: number, value: number, width = 1): void => machine.write(base + at, value, width, type);
    return { read, write };
  }

  // As kvm-unit-tests does it: lib/pci-testdev.c.
  test("a guest starts the test, writes as the header says, and finds its writes counted", () => {
    const { read, write } = build();
    write(TEST, 0);
    expect([read(TEST, 1), read(WIDTH, 1), read(COUNT)]).toEqual([0, 1, 0]);
    for (let i = 0; i < 16; i += 1) write(read(OFFSET), read(DATA), read(WIDTH, 1));
    expect(read(COUNT)).toBe(16);
  });

  test("its name is text with a zero behind it", () => {
    const { read } = build();
    const letters = Array.from({ length: name.length + 1 }, (_, i) => read(NAME + i, 1));
    expect(Buffer.from(letters).toString("latin1")).toBe(`${name}\0`);
  });

  test("before a test is started none runs, and nothing is counted", () => {
    const { read, write } = build();
    expect([read(TEST, 1), read(WIDTH, 1)]).toEqual([NO_TEST, 0]);
    write(0x80, 0xfa);
    expect(read(COUNT)).toBe(0);
  });

  test("other data, and other places, are not counted", () => {
    const { read, write } = build();
    write(TEST, 0);
    write(read(OFFSET), read(DATA) ^ 1);
    write(read(OFFSET) + 1, read(DATA));
    expect(read(COUNT)).toBe(0);
  });

  test("starting again counts from 0; a number without a test stops it", () => {
    const { read, write } = build();
    write(TEST, 0);
    write(0x80, 0xfa);
    write(TEST, 0);
    expect(read(COUNT)).toBe(0);
    write(TEST, 1);
    write(0x80, 0xfa);
    expect([read(TEST, 1), read(WIDTH, 1), read(COUNT)]).toEqual([NO_TEST, 0, 0]);
  });

  test("the header is read-only but for TEST", () => {
    const { read, write } = build();
    write(TEST, 0);
    for (const at of [OFFSET, DATA, COUNT, NAME]) {
      const before = read(at);
      write(at, ~before, 4);
      expect(read(at)).toBe(before);
    }
  });
});
