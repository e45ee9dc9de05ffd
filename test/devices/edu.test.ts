// SPDX-License-Identifier: MIT
import { edu } from "../../src/devices/edu.js";
import { DIR_READ } from "../../src/spec/xen-ioreq.js";
import { Machine, MEMORY } from "../support/machine.js";

const R = {
  ID: 0x00, LIVE: 0x04, FACTORIAL: 0x08, STATUS: 0x20, IRQ_STATUS: 0x24, IRQ_RAISE: 0x60, IRQ_ACK: 0x64,
  DMA_SRC: 0x80, DMA_DST: 0x88, DMA_COUNT: 0x90, DMA_CMD: 0x98,
} as const; // biome-ignore format: a table
type Name = keyof typeof R;
const BUFFER = 0x4_0000;
const [RUN, TO_MEMORY, INTERRUPT] = [1, 2, 4];

function build(options = {}) {
  const machine = new Machine([{ device: edu, options }]);
  machine.place();
  const read = (name: Name): number => machine.read(MEMORY + R[name]);
  const write = (name: Name, value: number): void => machine.write(MEMORY + R[name], value);
  const write8 = (name: Name, value: bigint): void => {
    machine.post({ addr: BigInt(MEMORY + R[name]), width: 8, data: value });
  };
  const read8 = (name: Name): bigint => machine.post({ addr: BigInt(MEMORY + R[name]), width: 8, flags: DIR_READ });
  const transfer = (source: number, destination: number, count: number, command: number): void => {
    write("DMA_SRC", source);
    write("DMA_DST", destination);
    write("DMA_COUNT", count);
    write("DMA_CMD", command);
  };
  return { machine, read, write, read8, write8, transfer };
}
const text = (machine: Machine, at: number, length: number): string =>
  Buffer.from(machine.ram.subarray(at, at + length)).toString("latin1");

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

describe("a factorial", () => {
  test("takes its time: the operand reads back and STATUS says so meanwhile", () => {
    const { read, write } = build({ delay: 50 });
    write("FACTORIAL", 5);
    jest.advanceTimersByTime(49);
    expect([read("STATUS"), read("FACTORIAL")]).toEqual([0x01, 5]);
    jest.advanceTimersByTime(2);
    expect([read("STATUS"), read("FACTORIAL")]).toEqual([0x00, 120]);
  });

  test.each([
    [0, 1],
    [1, 1],
    [12, 479_001_600],
    [13, 1_932_053_504],
    [33, 0x8000_0000],
    [34, 0],
    [0xffff_ffff, 0],
  ])("of %i is %i, to 32 bits", (n, expected) => {
    const { read, write } = build();
    write("FACTORIAL", n);
    jest.advanceTimersByTime(10);
    expect(read("FACTORIAL")).toBe(expected);
  });

  test("started during another is ignored", () => {
    const { read, write } = build();
    write("FACTORIAL", 5);
    write("FACTORIAL", 6);
    jest.advanceTimersByTime(10);
    expect(read("FACTORIAL")).toBe(120);
  });

  test("interrupts only when asked to, also when asked while it computes", () => {
    const { machine, read, write } = build();
    write("FACTORIAL", 3);
    jest.advanceTimersByTime(10);
    expect([read("IRQ_STATUS"), machine.asked]).toEqual([0, []]);
    write("FACTORIAL", 3);
    write("STATUS", 0x80);
    jest.advanceTimersByTime(10);
    expect([read("IRQ_STATUS"), machine.asked]).toEqual([1, ["intx 10.A raise"]]);
  });
});

test("STATUS keeps its computing bit from the guest", () => {
  const { read, write } = build();
  write("STATUS", 0xffff_ffff);
  expect(read("STATUS")).toBe(0x80);
  write("FACTORIAL", 3);
  write("STATUS", 0);
  expect(read("STATUS")).toBe(0x01);
});

test("LIVE inverts what was written, and reads 0 before", () => {
  const { read, write } = build();
  expect(read("LIVE")).toBe(0);
  write("LIVE", 0xa5a5_0001);
  expect(read("LIVE")).toBe(0x5a5a_fffe);
});

test("the line is up while any bit of IRQ_STATUS is; what may only be written reads as ones", () => {
  const { machine, read, write } = build();
  write("IRQ_RAISE", 0x30);
  write("IRQ_RAISE", 0x03);
  write("IRQ_ACK", 0x30);
  expect([read("IRQ_STATUS"), machine.asked]).toEqual([0x03, ["intx 10.A raise"]]);
  write("IRQ_ACK", 0xff);
  expect([read("IRQ_STATUS"), machine.asked]).toEqual([0, ["intx 10.A raise", "intx 10.A lower"]]);
  expect([read("IRQ_RAISE"), read("IRQ_ACK")]).toEqual([0xffff_ffff, 0xffff_ffff]);
});

describe("with MSI", () => {
  const enable = (machine: Machine): void => {
    machine.configWrite(0, 0x44, 0xfee0_0000);
    machine.configWrite(0, 0x4c, 0x4141, 2);
    machine.configWrite(0, 0x42, 1, 2);
  };
  const MESSAGE = "msi 0xfee00000 0x4141";

  test("every interrupt is a message, acknowledged or not, and acknowledging is none", () => {
    const { machine, write } = build();
    enable(machine);
    write("IRQ_RAISE", 1);
    write("IRQ_RAISE", 1);
    write("IRQ_ACK", 1);
    write("STATUS", 0x80);
    write("FACTORIAL", 3);
    jest.advanceTimersByTime(10);
    expect(machine.asked).toEqual([MESSAGE, MESSAGE, MESSAGE]);
    expect(machine.configRead(0, 0x06, 2) & 0x08).toBe(0);
  });

  test("raising no bits while none is set is no interrupt", () => {
    const { machine, write } = build();
    enable(machine);
    write("IRQ_RAISE", 0);
    expect(machine.asked).toEqual([]);
  });

  test("the capability is that of QEMU's: one message, 64 bits, no mask, at 0x40", () => {
    const { machine } = build();
    expect([machine.configRead(0, 0x34, 1), machine.configRead(0, 0x40)]).toEqual([0x40, 0x0080_0005]);
  });
});

describe("DMA", () => {
  test("copies from memory to the card and back", () => {
    const { machine, read, transfer } = build();
    machine.ram.set(Buffer.from("hello, card"), 0x1000);
    transfer(0x1000, BUFFER + 100, 11, RUN);
    expect(read("DMA_CMD") & RUN).toBe(RUN);
    jest.advanceTimersByTime(10);
    expect(read("DMA_CMD") & RUN).toBe(0);
    transfer(BUFFER + 107, 0x3000, 4, RUN | TO_MEMORY);
    jest.advanceTimersByTime(10);
    expect(text(machine, 0x3000, 4)).toBe("card");
    expect(machine.asked).toEqual([]);
  });

  test("interrupts with 0x100 when told to, and takes the whole buffer but no byte more", () => {
    const { machine, read, transfer } = build();
    transfer(BUFFER, 0x1000, 4096, RUN | TO_MEMORY | INTERRUPT);
    jest.advanceTimersByTime(10);
    expect([read("IRQ_STATUS"), machine.asked, machine.said]).toEqual([0x100, ["intx 10.A raise"], []]);
  });

  test.each([
    ["before the buffer", BUFFER - 1, 2],
    ["over its end", BUFFER + 4095, 2],
    ["nowhere near", 0, 4],
    ["more than the buffer", BUFFER, 4097],
    ["4 GiB less one", BUFFER, 0xffff_ffff],
  ])("%s is refused, said, and still ends", (_where, at, count) => {
    const { machine, read, transfer } = build();
    machine.ram.fill(0x55);
    transfer(at, 0x1000, count, RUN | TO_MEMORY | INTERRUPT);
    jest.advanceTimersByTime(10);
    expect([read("DMA_CMD") & RUN, read("IRQ_STATUS"), machine.said]).toEqual([0, 0x100, ["DMA refused"]]);
    expect(machine.ram.every((byte) => byte === 0x55)).toBe(true);
  });

  test("with a 64-bit count that wraps around is refused", () => {
    const { machine, write, write8 } = build();
    write8("DMA_SRC", BigInt(BUFFER));
    write8("DMA_DST", 0x1000n);
    write8("DMA_COUNT", 0xffff_ffff_ffff_ffffn);
    write("DMA_CMD", RUN | TO_MEMORY);
    jest.advanceTimersByTime(10);
    expect(machine.said).toEqual(["DMA refused"]);
  });

  test("without bus mastering, or where there is no RAM, is refused", () => {
    const { machine, transfer } = build();
    transfer(0x0f00_0000, BUFFER, 16, RUN);
    jest.advanceTimersByTime(10);
    machine.configWrite(0, 0x04, 0x0002, 2);
    transfer(0x1000, BUFFER, 16, RUN);
    jest.advanceTimersByTime(10);
    expect(machine.said).toEqual(["DMA refused", "DMA refused"]);
  });

  test("cuts an address to its mask: 28 bits unless told, as many as told", () => {
    for (const [bits, seen] of [
      [28, ["DMA address cut to its mask"]],
      [36, ["DMA refused"]],
    ] as const) {
      const { machine, write8, transfer, write } = build({ dma_mask_bits: bits });
      machine.ram.set(Buffer.from("mask"), 0x1000);
      transfer(0, BUFFER, 4, 0);
      write8("DMA_SRC", 0x3_1000_1000n);
      write("DMA_CMD", RUN);
      jest.advanceTimersByTime(10);
      expect(machine.said).toEqual(seen);
    }
  });

  test("holds its registers still while it runs, and starts only with the run bit", () => {
    const { machine, read, write, write8, transfer } = build();
    transfer(BUFFER, 0x1000, 4, TO_MEMORY);
    jest.advanceTimersByTime(10);
    expect(read("DMA_CMD")).toBe(0);
    write("DMA_CMD", RUN);
    write8("DMA_SRC", 0x9999_9999_9999n);
    write("DMA_COUNT", 9);
    write("DMA_CMD", RUN | INTERRUPT);
    expect([read("DMA_SRC"), read("DMA_COUNT"), read("DMA_CMD")]).toEqual([BUFFER, 4, RUN]);
    jest.advanceTimersByTime(10);
    expect(machine.asked).toEqual([]);
  });

  test("a transfer of nothing is a transfer", () => {
    const { machine, read, transfer } = build();
    transfer(0x1000, BUFFER, 0, RUN | INTERRUPT);
    jest.advanceTimersByTime(10);
    expect([read("IRQ_STATUS"), machine.said]).toEqual([0x100, []]);
  });
});

test("8 bytes at once are for the DMA registers only, other widths for none", () => {
  const { machine, read8, write8 } = build();
  write8("DMA_SRC", 0x1234_5678_9abc_def0n);
  expect(read8("DMA_SRC")).toBe(0x1234_5678_9abc_def0n);
  expect(read8("ID")).toBe(0xffff_ffff_ffff_ffffn);
  machine.write(MEMORY + R.LIVE, 0x77, 1);
  expect([machine.read(MEMORY + R.LIVE), machine.read(MEMORY + R.ID, 2)]).toEqual([0, 0xffff]);
});
