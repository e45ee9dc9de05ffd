// SPDX-License-Identifier: MIT
import { pciSerial } from "../../src/devices/pci-serial.js";
import { Machine, PORTS } from "../support/machine.js";

const R = { DATA: 0, IER: 1, IIR: 2, FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7 } as const;
type Name = keyof typeof R;
const [READY, OVERRUN, EMPTY] = [0x01, 0x02, 0x60];
const LOOP = 0x10;
/** Causes in IIR's low bits; with FIFOs on, 0xc0 as well. */
const [NONE, MODEM, TRANSMITTED, RECEIVED, LINE, TIMEOUT] = [0x01, 0x00, 0x02, 0x04, 0x06, 0x0c];

function build() {
  const machine = new Machine([pciSerial]);
  machine.place();
  const read = (name: Name): number => machine.in(PORTS + R[name]);
  const write = (name: Name, value: number): void => machine.out(PORTS + R[name], value);
  const receive = (text: string): number => machine.receive(Buffer.from(text));
  const cause = (): number => read("IIR") & 0x0f;
  const drain = (): string => {
    let text = "";
    while ((read("LSR") & READY) !== 0) text += String.fromCharCode(read("DATA"));
    return text;
  };
  /** What the line did since it was last asked. */
  const line = (): string[] => machine.asked.splice(0).map((what) => what.replace("intx 10.A ", ""));
  return { machine, read, write, receive, cause, drain, line };
}

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test("as it comes: empty, silent, somebody connected, FIFOs off", () => {
  const { read, line } = build();
  expect([read("IER"), read("IIR"), read("LCR"), read("MCR"), read("LSR"), read("MSR")]).toEqual([
    0,
    NONE,
    0,
    0,
    EMPTY,
    0xb0,
  ]);
  expect(line()).toEqual([]);
});

test("SCR keeps what is written; LSR and MSR are the guest's to read only", () => {
  const { read, write } = build();
  for (const name of ["SCR", "LSR", "MSR"] as const) write(name, 0x5a);
  expect([read("SCR"), read("LSR"), read("MSR")]).toEqual([0x5a, EMPTY, 0xb0]);
});

test("behind DLAB are the divisor's halves, and nothing is sent, received or enabled", () => {
  const { machine, read, write, receive } = build();
  receive("x");
  write("IER", 0x05);
  write("LCR", 0x83);
  write("DATA", 0x34);
  write("IER", 0x12);
  expect([read("DATA"), read("IER")]).toEqual([0x34, 0x12]);
  write("LCR", 0x03);
  expect([read("IER"), read("DATA"), machine.sent]).toEqual([0x05, 0x78, []]);
});

test("a 16-bit write reaches two registers, low one first", () => {
  const { machine, read } = build();
  machine.out(PORTS + R.LCR, 0x83);
  machine.out(PORTS, 0x0c34, 2);
  expect([read("DATA"), read("IER"), machine.in(PORTS, 2)]).toEqual([0x34, 0x0c, 0x0c34]);
});

describe("sending", () => {
  test("goes out at once, in order, with FIFOs and without", () => {
    const { machine, read, write } = build();
    write("DATA", 0x61);
    write("FCR", 0x01);
    for (let i = 0; i < 20; i += 1) write("DATA", 0x62 + i);
    expect(Buffer.from(machine.sent).toString()).toBe("abcdefghijklmnopqrstu");
    expect(read("LSR")).toBe(EMPTY);
  });

  test("its interrupt: by enabling it, and after each byte; reading IIR takes it back, once", () => {
    const { write, read, line } = build();
    write("DATA", 0x61);
    expect(line()).toEqual([]);
    write("IER", 0x02);
    expect([line(), read("IIR"), line(), read("IIR")]).toEqual([["raise"], TRANSMITTED, ["lower"], NONE]);
    write("DATA", 0x62);
    expect([line(), read("IIR"), line()]).toEqual([["raise"], TRANSMITTED, ["lower"]]);
  });

  // Linux, drivers/tty/serial/8250/8250_port.c, serial8250_do_startup(): what its tests for broken ports look at.
  test("disabling and enabling it raises it again", () => {
    const { write, cause } = build();
    for (let i = 0; i < 2; i += 1) {
      write("IER", 0x02);
      expect(cause()).toBe(TRANSMITTED);
      write("IER", 0x00);
    }
  });

  test("writing IER without a change does not", () => {
    const { write, cause } = build();
    write("IER", 0x02);
    cause();
    write("IER", 0x03);
    expect(cause()).toBe(NONE);
  });
});

describe("sending to a slow reader", () => {
  test("the transmitter is full while the line is busy, and empty with an interrupt when it is ready", () => {
    const { machine, read, write, line, cause } = build();
    write("FCR", 0x01);
    write("IER", 0x02);
    cause();
    line();
    machine.lineReady = false;
    write("DATA", 0x61);
    expect([read("LSR"), cause(), line()]).toEqual([0, NONE, []]);
    machine.lineIsReady();
    expect([read("LSR"), line(), cause(), cause()]).toEqual([EMPTY, ["raise"], TRANSMITTED, NONE]);
    expect(machine.sent).toEqual([0x61]);
  });

  test("what the guest had begun goes out all the same", () => {
    const { machine, write } = build();
    machine.lineReady = false;
    for (let i = 0; i < 16; i += 1) write("DATA", i);
    expect(machine.sent).toHaveLength(16);
  });

  test("enabling the interrupt raises nothing until then", () => {
    const { machine, write, line } = build();
    machine.lineReady = false;
    write("DATA", 0x61);
    write("IER", 0x02);
    expect(line()).toEqual([]);
    machine.lineIsReady();
    expect(line()).toEqual(["raise"]);
  });

  test("that the line is ready means nothing to a guest that does not wait", () => {
    const { machine, read, write, line, cause } = build();
    write("IER", 0x02);
    cause();
    line();
    machine.lineIsReady();
    expect([read("LSR"), cause(), line()]).toEqual([EMPTY, NONE, []]);
  });

  test("another process finds the guest waiting, and tells it", () => {
    const first = build();
    first.machine.lineReady = false;
    first.write("IER", 0x02);
    first.cause();
    first.write("DATA", 0x61);
    const heir = build();
    heir.machine.restore(first.machine.data());
    expect(heir.read("LSR")).toBe(0);
    heir.machine.lineIsReady();
    expect([heir.read("LSR"), heir.line()]).toEqual([EMPTY, ["raise"]]);
  });
});

describe("receiving without FIFOs", () => {
  test("one byte at a time; the next waits outside until it is read", () => {
    const { read, write, receive, cause, line } = build();
    write("IER", 0x01);
    expect(receive("ab")).toBe(1);
    expect([line(), cause(), read("LSR")]).toEqual([["raise"], RECEIVED, EMPTY | READY]);
    expect(receive("b")).toBe(0);
    expect([read("DATA"), line(), read("LSR")]).toEqual([0x61, ["lower"], EMPTY]);
    expect(receive("b")).toBe(1);
  });

  test("in loopback a second byte replaces the first, and that is an overrun", () => {
    const { read, write } = build();
    write("MCR", LOOP);
    write("DATA", 0x61);
    write("DATA", 0x62);
    expect(read("LSR")).toBe(EMPTY | READY | OVERRUN);
    expect(read("DATA")).toBe(0x62);
  });
});

describe("receiving with FIFOs", () => {
  test.each([
    [0x01, 1],
    [0x41, 4],
    [0x81, 8],
    [0xc1, 14],
  ])("FCR %i interrupts at %i bytes, until there are fewer", (fcr, trigger) => {
    const { write, read, receive, cause, line } = build();
    write("FCR", fcr);
    write("IER", 0x01);
    receive("x".repeat(trigger - 1));
    expect(line()).toEqual([]);
    receive("x");
    expect([line(), cause()]).toEqual([["raise"], RECEIVED]);
    read("DATA");
    expect([line(), cause()]).toEqual([["lower"], NONE]);
  });

  test("16 bytes, in order; more wait outside", () => {
    const { write, receive, drain } = build();
    write("FCR", 0x01);
    expect(receive("0123456789abcdefgh")).toBe(16);
    expect(drain()).toBe("0123456789abcdef");
    expect(receive("gh")).toBe(2);
  });

  test("come in order around the end of the FIFO, and the buffer keeps the last one", () => {
    const { write, read, receive, drain } = build();
    write("FCR", 0x01);
    receive("0123456789");
    expect(drain()).toBe("0123456789");
    receive("abcdefghijklmnop");
    expect([drain(), String.fromCharCode(read("DATA"))]).toEqual(["abcdefghijklmnop", "p"]);
  });

  test("the line is asked for more once the FIFO is half empty", () => {
    const { machine, write, read, receive } = build();
    write("FCR", 0x01);
    receive("0123456789abcdef");
    machine.polls = 0;
    for (let i = 0; i < 7; i += 1) read("DATA");
    expect(machine.polls).toBe(0);
    read("DATA");
    expect(machine.polls).toBe(1);
  });

  test("a byte that comes puts the timeout off", () => {
    const { write, receive, line } = build();
    write("FCR", 0x81);
    write("IER", 0x01);
    receive("x");
    for (let i = 0; i < 4; i += 1) {
      receive("x");
      jest.advanceTimersByTime(1);
    }
    expect(line()).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(line()).toEqual(["raise"]);
  });

  test("fewer than the trigger time out; reading takes that back, and what is left times out again", () => {
    const { write, read, receive, cause, line } = build();
    write("FCR", 0x81);
    write("IER", 0x01);
    receive("ab");
    jest.advanceTimersByTime(5);
    expect([line(), read("IIR")]).toEqual([["raise"], 0xc0 | TIMEOUT]);
    expect([read("DATA"), line(), cause()]).toEqual([0x61, ["lower"], NONE]);
    jest.advanceTimersByTime(5);
    expect([line(), cause()]).toEqual([["raise"], TIMEOUT]);
    read("DATA");
    jest.advanceTimersByTime(5);
    expect(line()).toEqual(["lower"]);
  });

  test("a timeout that was told is not taken back by another byte", () => {
    const { write, receive, cause, line } = build();
    write("FCR", 0x81);
    write("IER", 0x01);
    receive("a");
    jest.advanceTimersByTime(5);
    receive("b");
    expect([line(), cause()]).toEqual([["raise"], TIMEOUT]);
  });

  test("clearing and switching them empties them; bytes already sent are gone", () => {
    for (const fcr of [0x03, 0x00]) {
      const { write, read, receive, line } = build();
      write("FCR", 0x01);
      write("IER", 0x01);
      receive("abc");
      write("FCR", fcr);
      jest.advanceTimersByTime(5);
      expect([read("LSR"), line()]).toEqual([EMPTY, ["raise", "lower"]]);
    }
  });

  test("an overrun keeps what was there, interrupts before all else, and is taken back by reading LSR", () => {
    const { write, read, cause, drain } = build();
    write("FCR", 0x01);
    write("MCR", LOOP);
    write("IER", 0x07);
    for (let i = 0; i < 17; i += 1) write("DATA", 0x61 + i);
    expect(cause()).toBe(LINE);
    expect(read("LSR")).toBe(EMPTY | READY | OVERRUN);
    expect(cause()).toBe(RECEIVED);
    expect(drain()).toBe("abcdefghijklmnop");
    expect([cause(), cause()]).toEqual([TRANSMITTED, NONE]);
  });
});

describe("modem lines", () => {
  // Linux's autoconfig() looks for exactly this.
  test("in loopback RTS and OUT2 appear as CTS and DCD", () => {
    const { read, write } = build();
    write("MCR", LOOP | 0x0a);
    expect(read("MSR") & 0xf0).toBe(0x90);
  });

  test.each([
    ["DTR", 0x01, 0x20],
    ["RTS", 0x02, 0x10],
    ["OUT1", 0x04, 0x40],
    ["OUT2", 0x08, 0x80],
  ])("in loopback %s drives one of them", (_name, output, input) => {
    const { read, write } = build();
    write("MCR", LOOP | output);
    expect(read("MSR") & 0xf0).toBe(input);
  });

  test("changes interrupt last of all, and reading takes them back; RI counts when it falls", () => {
    const { read, write, cause, line } = build();
    write("MCR", LOOP);
    read("MSR");
    write("IER", 0x08);
    write("MCR", LOOP | 0x04);
    expect([line(), read("MSR")]).toEqual([[], 0x40]);
    write("MCR", LOOP | 0x01);
    expect([line(), cause(), read("MSR"), line()]).toEqual([["raise"], MODEM, 0x26, ["lower"]]);
  });

  test("in loopback nothing goes out and nothing comes in", () => {
    const { machine, read, write, receive } = build();
    write("MCR", LOOP);
    expect(receive("x")).toBe(0);
    write("DATA", 0x79);
    expect([read("DATA"), machine.sent]).toEqual([0x79, []]);
    write("MCR", 0);
    expect(receive("x")).toBe(1);
  });

  test("OUT2 does not gate the interrupt", () => {
    const { write, line } = build();
    write("MCR", 0x00);
    write("IER", 0x02);
    expect(line()).toEqual(["raise"]);
  });
});

test("another process finds the FIFO, the enables and a running timeout as they were", () => {
  const first = build();
  first.write("FCR", 0x81);
  first.write("IER", 0x01);
  first.receive("abc");
  const heir = build();
  heir.machine.restore(first.machine.data());
  heir.machine.tree.flush();
  jest.advanceTimersByTime(5);
  expect(heir.line()).toEqual(["raise"]);
  expect([heir.cause(), heir.drain()]).toEqual([TIMEOUT, "abc"]);
});
