// SPDX-License-Identifier: MIT
import { constants } from "node:os";
import type { DescriptorIo } from "../../src/chardev/descriptor.js";
import { Input, type SourceKind } from "../../src/chardev/input.js";
import { chardevArena, transact } from "./fixture.js";

const { EAGAIN } = constants.errno;

/** A source that gives what it is told to, a read each, to one process after the other. */
function source(kind: SourceKind) {
  const reads: number[][] = [];
  const asked: number[] = [];
  let readable: (() => void) | null = null;
  const io = {
    receive(_fd: number, into: Uint8Array, at: number, length: number): number {
      const bytes = reads.shift();
      if (bytes === undefined) return -EAGAIN;
      asked.push(length);
      const some = bytes.splice(0, length);
      if (bytes.length > 0) reads.unshift(bytes);
      into.set(some, at);
      return some.length;
    },
    receiveByte(_fd: number, into: Uint8Array, at: number, header: number): number {
      const [byte] = reads.shift() ?? [];
      if (byte === undefined) return -EAGAIN;
      into[at] = byte;
      new DataView(into.buffer).setInt32(header + 56, 1, true);
      return 1;
    },
  } as unknown as DescriptorIo;
  const given = {
    fd: -1,
    kind,
    whenReadable: (act: (() => void) | null) => {
      readable = act;
    },
  };
  return { reads, asked, io, given, watched: () => readable !== null };
}

/** A process with a device that takes up to `room` bytes. */
function build(from: ReturnType<typeof source>, memory = chardevArena(), room = 1000) {
  const { arena, state } = memory;
  const device = { received: [] as number[], room, ended: [] as number[], refuse: -1, alive: true };
  const input = new Input(state, {
    io: from.io,
    host: (work) => {
      if (device.alive) transact(arena, work);
    },
    ended: (result) => device.ended.push(result),
  });
  input.onReceive(
    () => device.room,
    (byte) => {
      if (byte === device.refuse) throw new Error("a fault of the device's");
      device.received.push(byte);
      device.room -= 1;
    },
  );
  input.connect(from.given);
  return { input, device, memory };
}

const turn = async (): Promise<void> => {
  for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

test.each(["terminal", "socket"] as const)(
  "a byte that a dead process had read from a %s and not taken is the next one's, once",
  async (kind) => {
    const line = source(kind);
    const given = (byte: number): number[] => (kind === "terminal" ? [0, byte] : [byte]);
    line.reads.push(given(0x61));
    const first = build(line);
    first.device.alive = false; // killed between the read and the first store behind it
    await turn();
    expect(line.reads).toEqual([]);
    first.input.close();

    const heir = build(line, first.memory);
    line.reads.push(given(0x62));
    await turn();
    expect(heir.device.received).toEqual([0x61, 0x62]);
    heir.input.close();
    const third = build(line, first.memory);
    await turn();
    expect(third.device.received).toEqual([]);
  },
);

test("one that was killed before its read leaves nothing", async () => {
  const terminal = source("terminal");
  const { memory, input } = build(terminal);
  await turn();
  input.close();
  const heir = build(terminal, memory);
  await turn();
  expect([heir.device.received, terminal.watched()]).toEqual([[], true]);
});

test("what the kernel tells of the terminal itself is no byte", async () => {
  const terminal = source("terminal");
  // TIOCPKT_FLUSHWRITE; then data.
  terminal.reads.push([0x02], [0, 0], [0, 0xff]);
  const { device } = build(terminal);
  await turn();
  expect(device.received).toEqual([0, 0xff]);
});

test.each(["terminal", "socket", "plain"] as const)(
  "a byte of a %s on which the device fails is lost, and the line goes on",
  async (kind) => {
    const line = source(kind);
    line.reads.push(...[1, 2, 3].map((byte) => (kind === "terminal" ? [0, byte] : [byte])));
    const { device } = build(line);
    device.refuse = 2;
    await turn();
    expect(device.received).toEqual([1, 3]);
  },
);

test("no more is read than the device has room for, and nothing is watched while it has none", async () => {
  const line = source("plain");
  line.reads.push([1, 2, 3, 4, 5, 6]);
  const { input, device } = build(line, chardevArena(), 4);
  await turn();
  expect([device.received, line.asked, line.watched()]).toEqual([[1, 2, 3, 4], [4], false]);
  device.room = 1;
  input.poll();
  await turn();
  expect([device.received, line.asked]).toEqual([
    [1, 2, 3, 4, 5],
    [4, 1],
  ]);
});

test("the end of the stream is told once", async () => {
  const line = source("plain");
  line.reads.push([1], []);
  const { input, device } = build(line);
  await turn();
  input.poll();
  await turn();
  expect([device.received, device.ended]).toEqual([[1], [0]]);
});
