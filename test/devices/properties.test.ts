// SPDX-License-Identifier: MIT
/**
 * What holds for every device of the list, whatever a guest does. A time budget
 * each; the seed is in the message when one fails, and SEED= repeats it.
 */

import fc from "fast-check";
import { devices } from "../../src/devices/index.js";
import type { PciDevice } from "../../src/pci/define.js";
import { DATA_IS_PTR, DIR_READ, DIRECTION_FLAG, STATE, TYPE } from "../../src/spec/xen-ioreq.js";
import { Machine, MEMORY, PORTS, type Request } from "../support/machine.js";

const BUDGET_MS = 1000;
const RUNS: fc.Parameters<unknown> = {
  numRuns: 100_000,
  interruptAfterTimeLimit: BUDGET_MS,
  ...(process.env["SEED"] === undefined ? {} : { seed: Number(process.env["SEED"]) }),
};

/** Addresses around what the device decodes, and a few anywhere. */
const near = (base: number, size: number): fc.Arbitrary<bigint> =>
  fc.integer({ min: -8, max: size + 8 }).map((offset) => BigInt(base + offset));
const anyFlags = fc.constantFrom(
  0,
  DIR_READ,
  DIRECTION_FLAG,
  DIR_READ | DIRECTION_FLAG,
  DATA_IS_PTR,
  DATA_IS_PTR | DIR_READ,
  DATA_IS_PTR | DIR_READ | DIRECTION_FLAG,
);
const anyWidth = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(1, 2, 4, 8) }, { weight: 1, arbitrary: fc.nat(17) });
const anyCount = fc.oneof(
  { weight: 8, arbitrary: fc.constant(1) },
  { weight: 2, arbitrary: fc.constantFrom(0, 2, 3, 16, 5000, 0xffff_ffff) },
);

const memoryAccess: fc.Arbitrary<Request> = fc.record({
  type: fc.constant(TYPE.copy),
  addr: fc.oneof(
    near(MEMORY, 0xa0),
    near(MEMORY, 0x1000),
    near(MEMORY + 0x0100_0000, 64),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  ),
  data: fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 0x2000n })),
  flags: anyFlags,
  width: anyWidth,
  count: anyCount,
});
const portAccess: fc.Arbitrary<Request> = fc.record({
  type: fc.constant(TYPE.pio),
  addr: fc.oneof(near(PORTS, 16), near(PORTS + 0x100, 256)),
  data: fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }),
  flags: anyFlags,
  width: anyWidth,
  count: anyCount,
});
const configAccess: fc.Arbitrary<Request> = fc.record({
  type: fc.constant(TYPE.pciConfig),
  addr: fc.nat(0x108).map((offset) => (0x80n << 32n) | BigInt(offset)),
  data: fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }),
  flags: fc.constantFrom(0, DIR_READ),
  width: anyWidth,
  count: anyCount,
});
const requests = (most: number): fc.Arbitrary<Request[]> =>
  fc.array(fc.oneof(memoryAccess, portAccess, configAccess), { maxLength: most });

/** Bits of configuration space that the guest may change, by the device's own table. */
function writableConfig(machine: Machine): Uint8Array {
  const mask = new Uint8Array(256);
  for (const row of machine.tree.functions[0]?.config.rows ?? []) {
    for (let i = 0; i < row.width; i += 1) mask[row.at + i] = ((row.rw | row.w1c) >>> (i * 8)) & 0xff;
  }
  // STATUS bit 3 is the device's own doing: the interrupt line.
  mask[0x06] = (mask[0x06] as number) | 0x08;
  return mask;
}

function configSpace(machine: Machine): number[] {
  return Array.from({ length: 256 }, (_, offset) => machine.configRead(0, offset, 1));
}

const fresh = (device: PciDevice): Machine => {
  const machine = new Machine([device]);
  machine.place();
  return machine;
};

describe.each(devices.map((device) => [device.name, device] as const))("%s", (_name, device) => {
  test("no sequence of accesses throws, and each is answered", () => {
    fc.assert(
      fc.property(requests(40), (list) => {
        const machine = fresh(device);
        try {
          for (const request of list) {
            machine.post(request);
            if (machine.state() === STATE.inProcess) machine.engine.abandonLate();
            expect(machine.state()).toBe(STATE.respReady);
          }
          expect(machine.counters.handlerErrors).toBe(0);
        } finally {
          machine.end();
        }
      }),
      RUNS,
    );
  });

  test("nor when time passes in between and timers run out", () => {
    // Date stays real: it is what ends the run.
    jest.useFakeTimers({ doNotFake: ["Date", "performance"] });
    const step = fc.tuple(fc.oneof(memoryAccess, portAccess, configAccess), fc.constantFrom(0, 0, 1, 10, 300));
    try {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40 }), (list) => {
          const machine = fresh(device);
          try {
            for (const [request, ms] of list) {
              machine.post(request);
              jest.advanceTimersByTime(ms);
              machine.engine.abandonLate();
            }
            jest.advanceTimersByTime(1000);
            expect(machine.counters.handlerErrors).toBe(0);
            expect(jest.getTimerCount()).toBe(0);
          } finally {
            machine.end();
          }
        }),
        RUNS,
      );
    } finally {
      jest.useRealTimers();
    }
  });

  test("read-only bits of configuration space never change", () => {
    fc.assert(
      fc.property(requests(40), (list) => {
        const machine = fresh(device);
        try {
          const writable = writableConfig(machine);
          const readOnly = (): number[] => configSpace(machine).map((byte, i) => byte & ~(writable[i] as number));
          const before = readOnly();
          for (const request of list) {
            machine.post(request);
            machine.engine.abandonLate();
          }
          expect(readOnly()).toEqual(before);
        } finally {
          machine.end();
        }
      }),
      RUNS,
    );
  });

  test("what is saved, restored elsewhere and saved again is equal, and answers alike", () => {
    fc.assert(
      fc.property(requests(30), (list) => {
        const machine = fresh(device);
        const heir = new Machine([device]);
        try {
          for (const request of list) {
            machine.post(request);
            machine.engine.abandonLate();
          }
          const saved = machine.data();
          heir.restore(saved);
          expect(heir.data()).toEqual(saved);
          expect(configSpace(heir)).toEqual(configSpace(machine));
        } finally {
          machine.end();
          heir.end();
        }
      }),
      RUNS,
    );
  });

  test("undo puts the arena back byte for byte, in the middle of any access", () => {
    fc.assert(
      fc.property(requests(10), requests(10), (before, undone) => {
        const machine = fresh(device);
        try {
          for (const request of before) {
            machine.post(request);
            machine.engine.abandonLate();
          }
          const data = machine.data();
          machine.arena.begin(0);
          for (const { type = TYPE.copy, addr, data: value = 0n, flags = 0 } of undone) {
            const hi = Number(BigInt.asIntN(32, addr >> 32n));
            const lo = Number(BigInt.asIntN(32, addr));
            if ((flags & DIR_READ) !== 0) machine.tree.read(type, hi, lo, 4);
            else machine.tree.write(type, hi, lo, 4, Number(BigInt.asIntN(32, value)));
          }
          machine.tree.access.begin();
          machine.arena.rollback();
          expect(machine.data()).toEqual(data);
        } finally {
          machine.end();
        }
      }),
      RUNS,
    );
  });
});
