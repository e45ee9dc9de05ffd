// SPDX-License-Identifier: MIT
import { counter } from "../../src/devices/counter.js";
import { DATA_IS_PTR, DIR_READ, STATE, TYPE } from "../../src/spec/xen-ioreq.js";
import { Machine, MEMORY, PORTS } from "../support/machine.js";

const [NEXT, COUNT, RESET, SCRATCH, LATE, DELAY] = [0x00, 0x04, 0x08, 0x0c, 0x10, 0x14];
const IO = PORTS + 0x100;

function build(): Machine {
  const machine = new Machine([counter]);
  machine.place();
  return machine;
}

test("every read is the next integer, whichever way it comes", () => {
  const machine = build();
  const seen = [machine.read(MEMORY + NEXT), machine.in(IO + NEXT, 4), machine.read(MEMORY + NEXT, 1)];
  expect(seen).toEqual([0, 1, 2]);
  expect([machine.read(MEMORY + COUNT), machine.in(IO + COUNT, 4)]).toEqual([3, 3]);
});

test("a rep access counts once an element, in order", () => {
  const machine = build();
  machine.post({ addr: BigInt(IO), type: TYPE.pio, flags: DIR_READ | DATA_IS_PTR, data: 0x1000n, count: 3 });
  expect([...new Uint32Array(machine.ram.buffer, 0x1000, 4)]).toEqual([0, 1, 2, 0]);
  expect(machine.read(MEMORY + COUNT)).toBe(3);
});

test("an access across NEXT and its neighbour counts once", () => {
  const machine = build();
  expect(machine.post({ addr: BigInt(MEMORY + NEXT), flags: DIR_READ, width: 8 })).toBe(0x1_0000_0000n);
  expect(machine.read(MEMORY + COUNT)).toBe(1);
});

test("writing to NEXT and COUNT does nothing; RESET starts again, SCRATCH keeps", () => {
  const machine = build();
  machine.read(MEMORY + NEXT);
  machine.write(MEMORY + NEXT, 99);
  machine.write(MEMORY + COUNT, 99);
  expect(machine.read(MEMORY + NEXT)).toBe(1);
  machine.write(MEMORY + SCRATCH, 0xdead_beef);
  machine.out(IO + RESET, 0, 1);
  expect([machine.read(MEMORY + NEXT), machine.read(MEMORY + SCRATCH)]).toEqual([0, 0xdead_beef]);
});

test("after 2^32 - 1 comes 0", () => {
  const machine = build();
  const at = machine.tree.functions[0]?.plan.at.state ?? -1;
  const data = machine.data();
  data.fill(0xff, at, at + 4);
  machine.restore(data);
  expect([machine.read(MEMORY + NEXT), machine.read(MEMORY + NEXT)]).toEqual([0xffff_ffff, 0]);
});

describe("LATE", () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  test("answers after DELAY; meanwhile other vCPUs are served", () => {
    const machine = build();
    machine.write(MEMORY + DELAY, 20);
    machine.post({ addr: BigInt(MEMORY + LATE), flags: DIR_READ }, 3);
    expect(machine.state(3)).toBe(STATE.inProcess);
    jest.advanceTimersByTime(19);
    expect(machine.read(MEMORY + NEXT)).toBe(0);
    expect(machine.state(3)).toBe(STATE.inProcess);
    machine.notified.length = 0;
    jest.advanceTimersByTime(5);
    expect([machine.state(3), machine.notified]).toEqual([STATE.respReady, [3]]);
    expect(machine.read(MEMORY + COUNT)).toBe(2);
  });

  test("several vCPUs that wait get a number each", () => {
    const machine = build();
    for (const vcpu of [0, 1, 2]) machine.post({ addr: BigInt(MEMORY + LATE), flags: DIR_READ }, vcpu);
    jest.advanceTimersByTime(10);
    const replies = [0, 1, 2].map((vcpu) => new DataView(machine.page).getUint32(vcpu * 32 + 8, true));
    expect(replies).toEqual([0, 1, 2]);
    expect(machine.engine.waiting).toBe(0);
  });
});
