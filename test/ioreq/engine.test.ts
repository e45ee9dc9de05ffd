// SPDX-License-Identifier: MIT
import { definePciDevice } from "../../src/pci/define.js";
import { DATA_IS_PTR, DIR_READ, DIRECTION_FLAG, STATE, TYPE } from "../../src/spec/xen-ioreq.js";
import { HOST_RECORD, PHASE } from "../../src/state/arena.js";
import { Machine, MEMORY, PORTS } from "../support/machine.js";

const ALL = 0xffff_ffff;
const ALL_64 = 0xffff_ffff_ffff_ffffn;

/** Memory with a log of what was written, a port that counts, a register that answers when told. */
function build() {
  const written: string[] = [];
  const waiting: Array<(value: number) => void> = [];
  const device = definePciDevice({
    name: "probe",
    ident: { vendor: 0x1234, device: 1, classCode: 0x00ff00 },
    bars: {
      0: {
        space: "mem32",
        size: 4096,
        regs: {
          A: { at: 0, rw: ALL },
          B: { at: 4, rw: ALL },
          W: { at: 8, width: 8, rw: ALL_64 },
          LATE: { at: 0x10 },
          THROWS: { at: 0x14, rw: ALL },
          BYTES: { at: 0x100, bytes: 0x100, rw: true },
        },
      },
      1: { space: "io", size: 16, regs: { NEXT: { at: 0 }, DATA: { at: 4, rw: ALL } } },
    },
    attach({ bars: { 0: memory, 1: ports } }) {
      memory.A.onWrite((raw, mask) => written.push(`A ${(raw >>> 0).toString(16)} & ${(mask >>> 0).toString(16)}`));
      memory.B.onWrite((raw) => written.push(`B ${(raw >>> 0).toString(16)}`));
      ports.DATA.onWrite((raw) => written.push(`D ${(raw >>> 0).toString(16)}`));
      ports.NEXT.onRead((stored) => {
        ports.NEXT.value = stored + 1;
        return stored;
      });
      memory.LATE.onReadLater((reply) => waiting.push(reply));
      memory.THROWS.onWrite(() => {
        memory.A.value = 0x666;
        throw new Error("a bug in a device");
      });
    },
  });
  const machine = new Machine([device]);
  machine.place();
  return { machine, written, waiting };
}

describe("an ordinary request", () => {
  test("is answered, published once, and leaves no record", () => {
    const { machine } = build();
    machine.write(MEMORY, 0x1234_5678);
    machine.notified.length = 0;
    expect(machine.read(MEMORY)).toBe(0x1234_5678);
    expect(machine.state()).toBe(STATE.respReady);
    expect(machine.notified).toEqual([0]);
    expect(machine.arena.record(0).phase).toBe(PHASE.idle);
  });

  test("of eight bytes is two of four, low half first, and reads whole", () => {
    const { machine, written } = build();
    machine.post({ addr: BigInt(MEMORY), data: 0x1111_2222_3333_4444n, width: 8 });
    expect(written).toEqual(["A 33334444 & ffffffff", "B 11112222"]);
    expect(machine.post({ addr: BigInt(MEMORY), flags: DIR_READ, width: 8 })).toBe(0x1111_2222_3333_4444n);
  });

  test("writes only the bytes of its width, whatever else is in the data field", () => {
    const { machine, written } = build();
    machine.post({ addr: BigInt(MEMORY + 1), data: 0xdead_beef_cafe_baben, width: 1 });
    expect(written).toEqual(["A be00 & ff00"]);
  });

  test("reads zero-extended", () => {
    const { machine } = build();
    machine.write(MEMORY, ALL);
    expect(machine.post({ addr: BigInt(MEMORY), flags: DIR_READ, width: 2, data: ALL_64 })).toBe(0xffffn);
    expect(machine.post({ addr: BigInt(MEMORY), flags: DIR_READ, width: 4, data: ALL_64 })).toBe(0xffff_ffffn);
  });

  test("across the end of a BAR is served byte by byte, all-ones where nobody is", () => {
    const { machine } = build();
    expect(machine.read(MEMORY + 4094, 4)).toBe(0xffff_0000);
  });

  test("across the end of configuration space reads all-ones there", () => {
    const { machine } = build();
    expect(machine.configRead(0, 0xfe, 4)).toBe(0xffff_0000);
    expect(machine.configRead(0, 0xffd, 4)).toBe(ALL);
    expect(machine.configRead(0, 0x1000, 4)).toBe(ALL);
  });

  test("across a dword of configuration space takes the bytes of both", () => {
    const { machine } = build();
    expect(machine.configRead(0, 0x01, 4)).toBe(0x0000_0112 | (0x07 << 24));
  });
});

/** What Xen, a hostile page or a guest may do that is no proper request. None may throw or hang. */
describe("malformed requests are answered, counted, and do nothing", () => {
  const cases: Array<[string, Parameters<Machine["post"]>[0], bigint]> = [
    ...[0, 3, 5, 7, 16, 0xffff_ffff].map((width): [string, Parameters<Machine["post"]>[0], bigint] => [
      `a read of ${width} bytes`,
      { addr: BigInt(MEMORY), flags: DIR_READ, width },
      ALL_64,
    ]),
    ["a port read of 8 bytes", { type: TYPE.pio, addr: BigInt(PORTS + 0x100), flags: DIR_READ, width: 8 }, ALL_64],
    ["count 0", { addr: BigInt(MEMORY), flags: DIR_READ, count: 0 }, ALL_64],
    ["count 2^32-1", { addr: BigInt(MEMORY), flags: DIR_READ, count: 0xffff_ffff }, ALL_64],
    ["count 2^32-1 through memory", { addr: BigInt(MEMORY), flags: DATA_IS_PTR, count: 0xffff_ffff }, ALL_64],
    ["an unknown type", { type: 3, addr: 0n, flags: DIR_READ }, ALL_64],
    ["type 255", { type: 255, addr: 0n, flags: DIR_READ }, ALL_64],
  ];
  test.each(cases)("%s", (_name, request, reply) => {
    const { machine, written } = build();
    const before = machine.data();
    expect(machine.post(request)).toBe(reply);
    expect(machine.state()).toBe(STATE.respReady);
    expect(machine.counters.malformed).toBe(1);
    expect(written).toEqual([]);
    expect(machine.data()).toEqual(before);
  });

  test.each([0, 2, 3, 4, 9, 15])("a slot in state %i is left alone", (state) => {
    const { machine } = build();
    machine.notified.length = 0;
    machine.post({ addr: BigInt(MEMORY), state });
    expect(machine.state()).toBe(state);
    expect(machine.notified).toEqual([]);
  });

  test.each([
    ["a bus that is not ours", 0x0000_0100_0000_0000n],
    ["a segment that is not ours", 0x0001_0080_0000_0000n],
    ["an empty slot", 0x0000_0018_0000_0000n],
  ])("configuration space of %s reads all-ones", (_name, addr) => {
    const { machine } = build();
    expect(machine.post({ type: TYPE.pciConfig, addr, flags: DIR_READ })).toBe(0xffff_ffffn);
  });

  test("an access that wraps around 2^64 reads all-ones", () => {
    const { machine } = build();
    expect(machine.post({ addr: ALL_64 - 1n, flags: DIR_READ, width: 8 })).toBe(ALL_64);
  });

  test("a request for a BAR that was just unmapped reads all-ones and writes nowhere", () => {
    const { machine, written } = build();
    machine.configWrite(0, 0x04, 0, 2);
    expect(machine.read(MEMORY)).toBe(ALL);
    machine.write(MEMORY, 1);
    expect(written).toEqual([]);
    expect(machine.tree.unclaimed).toBe(2);
  });
});

describe("rep instructions", () => {
  test("rep outs sends each element from memory to the same port", () => {
    const { machine, written } = build();
    new Uint32Array(machine.ram.buffer).set([0x11, 0x22, 0x33], 0x1000 / 4);
    machine.post({ type: TYPE.pio, flags: DATA_IS_PTR, addr: BigInt(PORTS + 0x104), data: 0x1000n, count: 3 });
    expect(written).toEqual(["D 11", "D 22", "D 33"]);
    expect(machine.counters.repElements).toBe(3);
  });

  test("rep ins with the direction flag fills memory downwards", () => {
    const { machine } = build();
    machine.post({
      type: TYPE.pio,
      flags: DATA_IS_PTR | DIR_READ | DIRECTION_FLAG,
      addr: BigInt(PORTS + 0x100),
      data: 0x2008n,
      count: 3,
    });
    expect([...new Uint32Array(machine.ram.buffer, 0x2000, 3)]).toEqual([2, 1, 0]);
  });

  test.each([1, 2, 4, 8])("rep movs of %i bytes moves both addresses, forwards and backwards", (width) => {
    const { machine } = build();
    const source = Uint8Array.from({ length: 4 * width }, (_, i) => i + 1);
    machine.ram.set(source, 0x3000);
    machine.post({ flags: DATA_IS_PTR, addr: BigInt(MEMORY + 0x100), data: 0x3000n, count: 4, width });
    const last = 3 * width;
    machine.post({
      flags: DATA_IS_PTR | DIR_READ | DIRECTION_FLAG,
      addr: BigInt(MEMORY + 0x100 + last),
      data: BigInt(0x4000 + last),
      count: 4,
      width,
    });
    expect(machine.ram.slice(0x4000, 0x4000 + source.length)).toEqual(source);
  });

  test("rep stos writes the same value at moving addresses", () => {
    const { machine } = build();
    machine.post({ addr: BigInt(MEMORY + 0x100), data: 0xaabbn, count: 3, width: 2 });
    expect(machine.read(MEMORY + 0x100, 4)).toBe(0xaabb_aabb);
    expect(machine.read(MEMORY + 0x104, 4)).toBe(0xaabb);
  });

  test("an element may cross a page of memory", () => {
    const { machine } = build();
    machine.ram.set([1, 2, 3, 4], 0xffe);
    machine.post({ flags: DATA_IS_PTR, addr: BigInt(MEMORY), data: 0xffen });
    expect(machine.read(MEMORY)).toBe(0x0403_0201);
  });

  test("memory that is not there reads as ones, takes nothing, and is counted", () => {
    const { machine, written } = build();
    machine.post({ flags: DATA_IS_PTR, addr: BigInt(MEMORY), data: 0x9000_0000n });
    expect(written).toEqual(["A ffffffff & ffffffff"]);
    machine.post({ flags: DATA_IS_PTR | DIR_READ, addr: BigInt(MEMORY), data: ALL_64 });
    expect(machine.counters.memoryFaults).toBe(2);
  });

  test("addresses that wrap below 0 reach nobody", () => {
    const { machine } = build();
    machine.post({ flags: DATA_IS_PTR | DIR_READ | DIRECTION_FLAG, addr: 4n, data: 8n, count: 4 });
    expect(machine.state()).toBe(STATE.respReady);
    expect(machine.counters.memoryFaults).toBe(1);
  });

  test("rep ins on a configuration port loops as on any port", () => {
    const { machine } = build();
    machine.post({
      type: TYPE.pciConfig,
      flags: DATA_IS_PTR | DIR_READ,
      addr: machine.configAddress(0, 0),
      data: 0x5000n,
      count: 2,
    });
    expect([...new Uint32Array(machine.ram.buffer, 0x5000, 2)]).toEqual([0x0001_1234, 0x0001_1234]);
  });
});

describe("a device that answers later", () => {
  test("leaves the slot in process while other vCPUs go on, then answers", () => {
    const { machine, waiting } = build();
    machine.post({ addr: BigInt(MEMORY + 0x10), flags: DIR_READ }, 0);
    expect(machine.state(0)).toBe(STATE.inProcess);
    expect(machine.arena.record(0).phase).toBe(PHASE.deferred);
    machine.post({ addr: BigInt(MEMORY), data: 5n }, 1);
    expect(machine.post({ addr: BigInt(MEMORY), flags: DIR_READ }, 1)).toBe(5n);
    waiting[0]?.(0x77);
    expect(machine.state(0)).toBe(STATE.respReady);
    expect(new DataView(machine.page).getBigUint64(8, true)).toBe(0x77n);
    expect(machine.arena.record(0).phase).toBe(PHASE.idle);
  });

  test("has the rest of a straddling access combined with its answer", () => {
    const { machine, waiting } = build();
    machine.post({ addr: BigInt(MEMORY + 0x0e), flags: DIR_READ, width: 4 });
    waiting[0]?.(0x4433_2211);
    expect(new DataView(machine.page).getBigUint64(8, true)).toBe(0x2211_0000n);
  });

  test("may be the second half of an access of eight bytes", () => {
    const { machine, waiting } = build();
    machine.post({ addr: BigInt(MEMORY + 0x0c), flags: DIR_READ, width: 8 });
    waiting[0]?.(-2);
    expect(new DataView(machine.page).getBigUint64(8, true)).toBe(0xffff_fffe_0000_0000n);
  });

  test("in the middle of a rep continues behind the element, each answer in its place", () => {
    const { machine, waiting } = build();
    machine.post({ flags: DATA_IS_PTR | DIR_READ, addr: BigInt(MEMORY + 0x0c), data: 0x6000n, count: 3 });
    expect(machine.arena.record(0)).toMatchObject({ phase: PHASE.deferred, progress: 1 });
    waiting[0]?.(0x1234);
    expect(machine.state()).toBe(STATE.respReady);
    expect([...new Uint32Array(machine.ram.buffer, 0x6000, 3)]).toEqual([0, 0x1234, 0]);
  });

  test("has its answer to an element given by the next process, where it was recorded and not delivered", () => {
    const { machine, waiting } = build();
    machine.post({ flags: DATA_IS_PTR | DIR_READ, addr: BigInt(MEMORY + 0x0c), data: 0x6000n, count: 3 });
    const next = build();
    const flush = machine.tree.flush.bind(machine.tree);
    // Between the commit of the device's work and what follows from it.
    machine.tree.flush = () => {
      next.machine.arena.u8.set(machine.arena.u8);
      new Uint8Array(next.machine.page).set(new Uint8Array(machine.page));
      next.machine.ram.set(machine.ram);
      machine.tree.flush = flush;
      flush();
    };
    machine.engine.host(() => waiting[0]?.(0x1234));
    next.machine.arena.recover();
    expect(next.machine.arena.record(0)).toMatchObject({ phase: PHASE.answered, progress: 1, element: 1 });
    expect(next.machine.engine.resume(0)).toBe("served again");
    expect(next.waiting).toEqual([]);
    expect(next.machine.state()).toBe(STATE.respReady);
    expect([...new Uint32Array(next.machine.ram.buffer, 0x6000, 3)]).toEqual([0, 0x1234, 0]);
  });

  test("has its answer to an element that was delivered already given to no other", () => {
    const { machine, waiting } = build();
    const repeat = { flags: DATA_IS_PTR | DIR_READ, addr: BigInt(MEMORY + 0x0c), data: 0x6000n, count: 3 };
    machine.post(repeat);
    machine.arena.beginHost();
    machine.arena.answer(0, 0x1234, 0);
    machine.arena.commit(PHASE.committed, 0, 0);
    machine.arena.setProgress(0, 2);
    machine.arena.recover();
    expect(machine.engine.resume(0)).toBe("served again");
    expect(waiting).toHaveLength(1);
    expect([...new Uint32Array(machine.ram.buffer, 0x6000, 3)]).toEqual([0, 0, 0]);
  });

  test.each([-0x8000_0000, -1, 4, 0x7fff_ffff])(
    "of a rep whose record says %i of 3 elements, as no process writes it, is served from the start",
    (progress) => {
      const { machine, written } = build();
      const repeat = { flags: DATA_IS_PTR, addr: BigInt(MEMORY), data: 0x6000n, count: 3, state: STATE.inProcess };
      machine.post(repeat);
      machine.arena.setProgress(0, progress);
      expect(machine.engine.resume(0)).toBe("served again");
      expect(written).toEqual(["A 0 & ffffffff", "B 0"]);
      expect(machine.counters.repElements).toBe(3);
      expect(machine.state()).toBe(STATE.respReady);
    },
  );

  test("answers an older request in vain, once the server has given up on it", () => {
    const { machine, waiting } = build();
    machine.post({ addr: BigInt(MEMORY + 0x10), flags: DIR_READ });
    machine.engine.abandonLate();
    expect(machine.state()).toBe(STATE.respReady);
    machine.post({ addr: BigInt(MEMORY + 0x10), flags: DIR_READ });
    waiting[0]?.(1);
    expect(machine.state()).toBe(STATE.inProcess);
    waiting[1]?.(2);
    expect(new DataView(machine.page).getBigUint64(8, true)).toBe(2n);
  });
});

describe("a handler that throws", () => {
  test("has its stores undone; the guest gets all-ones and goes on", () => {
    const { machine } = build();
    const before = machine.data();
    machine.write(MEMORY + 0x14, 1);
    expect(machine.data()).toEqual(before);
    expect(machine.counters.handlerErrors).toBe(1);
    expect(machine.state()).toBe(STATE.respReady);
    machine.write(MEMORY, 3);
    expect(machine.read(MEMORY)).toBe(3);
  });

  test("outside a request is undone as well, and does not end the daemon", () => {
    const { machine } = build();
    const before = machine.data();
    machine.engine.host(() => {
      machine.arena.store(machine.arena.dataAt, 4, 99);
      throw new Error("a bug in a device");
    });
    expect(machine.data()).toEqual(before);
    expect(machine.arena.record(HOST_RECORD).phase).toBe(PHASE.idle);
  });
});

test("INVALIDATE and TIMEOFFSET are answered at once, whatever their count", () => {
  const { machine } = build();
  machine.post({ type: TYPE.invalidate, addr: 0n, count: 0, flags: 0 });
  expect(machine.state()).toBe(STATE.respReady);
  expect(machine.asked).toContain("invalidate");
  machine.post({ type: TYPE.timeoffset, addr: 0n, count: 0, flags: 0 });
  expect(machine.counters).toMatchObject({ invalidate: 1, timeoffset: 1, malformed: 0 });
});
