// SPDX-License-Identifier: MIT
import { GATHER_MS, Output, type Sink, STALL_MS } from "../../src/chardev/output.js";
import { ChardevState, RING_SIZE } from "../../src/pci/chardev-state.js";
import { chardevArena, transact } from "./fixture.js";

/** Takes as many bytes as it is told to. */
function slowSink() {
  let allowance = 0;
  let ready: (() => void) | null = null;
  const taken: number[] = [];
  const sink: Sink = {
    send(state, most) {
      if (allowance < 0) return -1;
      const count = Math.min(state.waiting, most, allowance);
      allowance -= count;
      const words = new Int32Array(state.file.buffer, state.at, 2);
      for (let i = 0; i < count; i += 1) {
        taken.push(state.file[state.at + 16 + ((words[0] as number) & (state.size - 1))] as number);
        words[0] = (words[0] as number) + 1;
      }
      return count;
    },
    whenReady(callback) {
      ready = callback;
    },
  };
  const allow = (count: number): void => {
    allowance = count;
    const act = ready;
    ready = null;
    act?.();
  };
  return { sink, taken, allow, waits: () => ready !== null };
}

/** `given`: the arena of an earlier process. */
function build(given = chardevArena()) {
  const { arena, state } = given;
  const told = { dropped: [] as number[], lost: 0, ready: 0 };
  const output = new Output(state, {
    host: (work) => transact(arena, work),
    overflowed: (bytes) => told.dropped.push(bytes),
    lost: () => {
      told.lost += 1;
    },
  });
  output.onReady(() => {
    told.ready += 1;
  });
  const write = (count: number, from = 0): void =>
    transact(arena, () => {
      for (let i = 0; i < count; i += 1) output.write((from + i) & 0xff);
    });
  return { output, told, write, given, arena, state: state as ChardevState };
}
/** Turns of the loop: without a pause behind what went out before, all goes out in them that can. */
async function turns(count = 200): Promise<void> {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
const counting = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => (from + i) & 0xff);

beforeEach(() => jest.useFakeTimers({ doNotFake: ["setImmediate", "clearImmediate"] }));
afterEach(() => jest.useRealTimers());

test("where the state file says that more waits than there is room for, nothing of it is sent", async () => {
  const { arena, state } = build();
  new Int32Array(state.file.buffer, state.at, 2).set([5, 5 + RING_SIZE + 1]);
  const { output, write } = build({ arena, state: new ChardevState(arena, 0) });
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  allow(RING_SIZE * 2);
  write(3);
  await turns();
  expect(taken).toEqual([0, 1, 2]);
});

test("nothing is lost up to the bound, however slowly it is taken", async () => {
  const { output, told, write } = build();
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  write(RING_SIZE);
  await turns();
  while (taken.length < RING_SIZE) {
    allow(1000);
    await turns(5);
  }
  expect(taken).toEqual(counting(RING_SIZE));
  expect(told.dropped).toEqual([]);
});

test("what comes beyond the bound is dropped, and how much is told though nothing moves", async () => {
  const { output, told, write } = build();
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  write(RING_SIZE + 300);
  await turns();
  expect(told.dropped).toEqual([300]);
  allow(Number.POSITIVE_INFINITY);
  await turns();
  expect(taken).toEqual(counting(RING_SIZE));
  write(5, 7);
  await turns();
  expect(taken.slice(RING_SIZE)).toEqual(counting(5, 7));
});

test("bytes go on in order around the end of the ring", async () => {
  const { output, write } = build();
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  write(RING_SIZE - 10);
  await turns();
  allow(RING_SIZE - 20);
  await turns();
  write(100, RING_SIZE - 10);
  allow(Number.POSITIVE_INFINITY);
  await turns();
  expect(taken).toEqual(counting(RING_SIZE + 90));
});

test("the first byte after a pause goes out at once, and those that follow it together", async () => {
  const { output, write } = build();
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  allow(Number.POSITIVE_INFINITY);
  write(1);
  await turns();
  expect(taken).toEqual(counting(1));
  for (let i = 1; i < 6; i += 1) {
    write(1, i);
    await turns();
  }
  jest.advanceTimersByTime(GATHER_MS - 1);
  expect(taken).toEqual(counting(1));
  jest.advanceTimersByTime(1);
  expect(taken).toEqual(counting(6));
  jest.advanceTimersByTime(GATHER_MS);
  write(1, 6);
  await turns();
  expect(taken).toEqual(counting(7));
});

test("a handler that is undone sent nothing", async () => {
  const { output, arena, write } = build();
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  allow(100);
  transact(arena, () => {
    for (const byte of [1, 2, 3]) output.write(byte);
    throw new Error("undone");
  });
  write(2, 9);
  await turns();
  expect(taken).toEqual([9, 10]);
});

test("what a dead process had queued is sent by the next, once, and first", async () => {
  const before = build();
  const first = slowSink();
  before.output.connect(first.sink);
  first.allow(40);
  before.write(100);
  await turns();
  expect(first.taken).toEqual(counting(40));
  before.output.onReady(() => {});
  first.sink.whenReady(null); // it is killed here

  const after = build(before.given);
  const second = slowSink();
  after.output.connect(second.sink);
  second.allow(Number.POSITIVE_INFINITY);
  after.write(3, 100);
  await turns();
  expect([...first.taken, ...second.taken]).toEqual(counting(103));
});

test("what waited for one client is not given to the next, but to the one who comes back after a process died", async () => {
  const { output, write, given } = build();
  const [first, second, third] = [slowSink(), slowSink(), slowSink()];
  output.connect(first.sink);
  write(10);
  await turns();
  expect(first.waits()).toBe(true);
  output.disconnect();
  expect(first.waits()).toBe(false);
  output.connect(second.sink);
  write(3, 50);
  await turns();
  expect(second.taken).toEqual([]);
  second.sink.whenReady(null); // it is killed here

  const heir = build(given);
  heir.write(2, 53); // while nobody is there yet
  await turns();
  heir.output.connect(third.sink);
  third.allow(100);
  await turns();
  expect(third.taken).toEqual([50, 51, 52, 53, 54]);
});

test("with nobody there bytes are gone, and the line is ready", async () => {
  const { output, told, write } = build();
  write(RING_SIZE * 2);
  expect(output.ready).toBe(true);
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  allow(100);
  await turns();
  expect([taken, told.dropped]).toEqual([[], []]);
});

test("the line is busy while much waits, and says so when it is ready again", async () => {
  const { output, told, write } = build();
  const { sink, allow } = slowSink();
  output.connect(sink);
  await turns();
  told.ready = 0; // a new process tells so once
  write(RING_SIZE - 64);
  expect(output.ready).toBe(true);
  write(1);
  expect(output.ready).toBe(false);
  write(63); // what a device had begun
  await turns();
  allow(RING_SIZE / 2 - 1);
  await turns();
  expect([output.ready, told.ready]).toEqual([false, 0]);
  allow(1);
  await turns();
  expect([output.ready, told]).toEqual([true, { dropped: [], lost: 0, ready: 1 }]);
});

test("a reader that stands still holds the guest up for a moment, once, until it reads again", async () => {
  const { output, told, write } = build();
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  await turns();
  told.ready = 0;
  write(RING_SIZE);
  await turns();
  jest.advanceTimersByTime(STALL_MS - 1);
  expect([output.ready, told.ready]).toEqual([false, 0]);
  jest.advanceTimersByTime(1);
  expect([output.ready, told.ready]).toEqual([true, 1]);
  write(500);
  await turns();
  expect([output.ready, told.dropped]).toEqual([true, [500]]);
  allow(100);
  await turns();
  write(37);
  expect([output.ready, taken.length]).toEqual([false, 100]);
});

test("a reader that is slow but moves holds the guest up for as long as it takes", async () => {
  const { output, told, write } = build();
  const { sink, allow } = slowSink();
  output.connect(sink);
  write(RING_SIZE);
  await turns();
  for (let i = 0; i < 20; i += 1) {
    jest.advanceTimersByTime(STALL_MS - 1);
    allow(1);
    await turns(3);
  }
  expect(output.ready).toBe(false);
  expect(told.dropped).toEqual([]);
});

test("a sink that is lost is told of, and what comes then is dropped", async () => {
  const { output, told, write, state } = build();
  const { sink, allow } = slowSink();
  output.connect(sink);
  allow(-1);
  write(10);
  await turns();
  write(10);
  expect([told.lost, output.ready, state.waiting]).toEqual([1, true, 0]);
});
