// SPDX-License-Identifier: MIT
import { BufferedRing, type RingConsumer } from "../../src/ioreq/ring.js";
import { RING } from "../../src/spec/xen-ioreq.js";

class Producer {
  readonly page = new ArrayBuffer(4096);
  readonly words = new Uint32Array(this.page);
  readonly ring = new BufferedRing(this.page);

  /** As Xen does: the slot or slots first, then the pointer. */
  put(type: number, size: number, addr: number, data: number, high = 0): void {
    const at = this.words[1] as number;
    this.#slot(at, type | (size << 10) | (addr << 12), data);
    if (size === 3) this.#slot(at + 1, 0, high);
    Atomics.add(this.words, 1, size === 3 ? 2 : 1);
  }

  #slot(pointer: number, head: number, data: number): void {
    const word = 2 + (pointer % RING.slotCount) * 2;
    this.words[word] = head;
    this.words[word + 1] = data;
  }

  drain(): unknown[][] {
    const seen: unknown[][] = [];
    this.ring.drain(consumer((...entry) => seen.push(entry.slice(0, 5))));
    return seen;
  }
}

const consumer = (apply: RingConsumer["applyBuffered"]): RingConsumer => ({
  applyBuffered: apply,
  advanced: () => {},
});

test("entries come out in order, with their width and address", () => {
  const xen = new Producer();
  xen.put(1, 2, 0xa0000, 0x1122_3344);
  xen.put(1, 0, 0xa0004, 0x55);
  expect(xen.drain()).toEqual([
    [1, 0xa0000, 4, 0x1122_3344, 0],
    [1, 0xa0004, 1, 0x55, 0],
  ]);
  expect(xen.ring.empty).toBe(true);
});

test("an entry of eight bytes takes two slots, also around the end of the ring", () => {
  const xen = new Producer();
  xen.words[0] = 510;
  xen.words[1] = 510;
  xen.put(7, 3, 0, 0x1111, 0x2222);
  expect(xen.drain()).toEqual([[7, 0, 8, 0x1111, 0x2222]]);
  expect(xen.words[0]).toBe(512);
});

test("Xen may take multiples of 511 off both pointers while we read", () => {
  const xen = new Producer();
  xen.words[0] = 600;
  xen.words[1] = 600;
  xen.put(1, 2, 0xa0000, 1);
  const seen: number[] = [];
  xen.ring.drain(
    consumer((_type, _lo, _width, data) => {
      seen.push(data);
      if (seen.length > 1) return;
      // In the middle of an entry: canonicalised, and one more posted.
      xen.words[0] = (xen.words[0] as number) - 511;
      xen.words[1] = (xen.words[1] as number) - 511;
      xen.put(1, 2, 0xa0000, 2);
    }),
  );
  expect(seen).toEqual([1, 2]);
  expect(xen.words[0]).toBe(xen.words[1]);
});

test("pointers that make no sense give nothing, rather than four thousand million entries", () => {
  const xen = new Producer();
  xen.words[0] = 5;
  xen.words[1] = 4;
  expect(xen.drain()).toEqual([]);
});

test("half an entry of eight bytes is skipped, not applied", () => {
  const xen = new Producer();
  xen.words[2] = 1 | (3 << 10);
  xen.words[1] = 1;
  expect(xen.drain()).toEqual([]);
  expect(xen.words[0]).toBe(1);
});

test("a producer that never stops does not keep the consumer for ever", () => {
  const xen = new Producer();
  xen.put(1, 2, 0xa0000, 0);
  let applied = 0;
  xen.ring.drain(
    consumer(() => {
      applied += 1;
      xen.put(1, 2, 0xa0000, applied);
    }),
  );
  expect(applied).toBe(RING.slotCount);
});

test("an entry that a dead process applied, but did not take out, is skipped by the next", () => {
  const xen = new Producer();
  xen.words[0] = 510;
  xen.words[1] = 510;
  xen.put(7, 3, 0, 0x1111, 0x2222);
  xen.put(1, 2, 0xa0000, 5);
  xen.ring.resume((at) => (at === 510 ? 2 : 0));
  expect(xen.drain()).toEqual([[1, 0xa0000, 4, 5, 0]]);
});

test("where the dead process had applied nothing, nothing is skipped", () => {
  const xen = new Producer();
  xen.put(1, 2, 0xa0000, 5);
  xen.ring.resume(() => 0);
  expect(xen.drain()).toHaveLength(1);
});
