// SPDX-License-Identifier: MIT
import { MOST_WAITING, Output, type Sink } from "../../src/chardev/output.js";

/** Takes as many bytes as it is told to. */
function slowSink() {
  let allowance = 0;
  let ready: (() => void) | null = null;
  const taken: number[] = [];
  const sink: Sink = {
    write(bytes) {
      const count = Math.min(bytes.length, allowance);
      allowance -= count;
      taken.push(...bytes.subarray(0, count));
      return count;
    },
    whenReady(callback) {
      ready = callback;
      return () => {
        ready = null;
      };
    },
  };
  const allow = (count: number): void => {
    allowance = count;
    ready?.();
  };
  return { sink, taken, allow, waits: () => ready !== null };
}

function build() {
  const dropped: number[] = [];
  const output = new Output((bytes) => dropped.push(bytes));
  const write = (count: number, from = 0): void => {
    for (let i = 0; i < count; i += 1) output.write((from + i) & 0xff);
  };
  return { output, dropped, write };
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const counting = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => (from + i) & 0xff);

test("nothing is lost up to the bound, however slowly it is taken", async () => {
  const { output, dropped, write } = build();
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  write(MOST_WAITING);
  await turn();
  while (taken.length < MOST_WAITING) allow(1000);
  expect(taken).toEqual(counting(MOST_WAITING));
  expect(dropped).toEqual([]);
});

test("what comes beyond the bound is dropped, and how much is told though nothing moves", async () => {
  const { output, dropped, write } = build();
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  write(MOST_WAITING + 300);
  await turn();
  expect(dropped).toEqual([300]);
  allow(Number.POSITIVE_INFINITY);
  expect(taken).toEqual(counting(MOST_WAITING));
  write(5, 7);
  await turn();
  expect(taken.slice(MOST_WAITING)).toEqual(counting(5, 7));
});

test("bytes go on in order around the end of the buffer", async () => {
  const { output, write } = build();
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  write(MOST_WAITING - 10);
  await turn();
  allow(MOST_WAITING - 20);
  write(100, MOST_WAITING - 10);
  allow(Number.POSITIVE_INFINITY);
  expect(taken).toEqual(counting(MOST_WAITING + 90));
});

test("what waited for one side is not given to the next", async () => {
  const { output, write } = build();
  const [first, second] = [slowSink(), slowSink()];
  output.connect(first.sink);
  write(10);
  await turn();
  expect(first.waits()).toBe(true);
  output.connect(second.sink);
  expect(first.waits()).toBe(false);
  second.allow(100);
  write(3, 50);
  await turn();
  expect(second.taken).toEqual([50, 51, 52]);
});

test("with nobody there bytes are gone", async () => {
  const { output, dropped, write } = build();
  write(MOST_WAITING * 2);
  const { sink, taken, allow } = slowSink();
  output.connect(sink);
  allow(100);
  await turn();
  expect([taken, dropped]).toEqual([[], []]);
});
