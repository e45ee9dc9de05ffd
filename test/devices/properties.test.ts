// SPDX-License-Identifier: MIT
/**
 * What holds for every device of the list, whatever a guest does. A time budget
 * each; the seed is in the message when one fails, and SEED= repeats it.
 */

import fc from "fast-check";
import { devices } from "../../src/devices/index.js";
import type { PciDevice } from "../../src/pci/define.js";
import { DIR_READ, STATE, TYPE } from "../../src/spec/xen-ioreq.js";
import { capabilityChain, extendedChain } from "../support/capabilities.js";
import { Machine } from "../support/machine.js";
import { anyAccess, requests } from "./any-access.js";
import { conventional, express } from "./every-capability.js";

const BUDGET_MS = 1000;
const RUNS: fc.Parameters<unknown> = {
  numRuns: 100_000,
  interruptAfterTimeLimit: BUDGET_MS,
  ...(process.env["SEED"] === undefined ? {} : { seed: Number(process.env["SEED"]) }),
};

/** Bits of configuration space that the guest may change, by the device's own table. */
function writableConfig(machine: Machine): Uint8Array {
  const mask = new Uint8Array(configSize(machine));
  for (const row of machine.tree.functions[0]?.config.rows ?? []) {
    for (let i = 0; i < row.width; i += 1) mask[row.at + i] = ((row.rw | row.w1c) >>> (i * 8)) & 0xff;
  }
  // STATUS bit 3 is the device's own doing, the interrupt line; so are MSI's pending bits.
  mask[0x06] = (mask[0x06] as number) | 0x08;
  const pending = machine.tree.functions[0]?.config.rows.find(({ name }) => name === "MSI_PENDING");
  if (pending !== undefined) mask.fill(0xff, pending.at, pending.at + pending.width);
  return mask;
}

const configSize = (machine: Machine): number => machine.tree.functions[0]?.configSize ?? 0;

function configSpace(machine: Machine): number[] {
  const words = Array.from({ length: configSize(machine) / 4 }, (_, word) => machine.configRead(0, word * 4));
  return [...new Uint8Array(Uint32Array.from(words).buffer)];
}

const fresh = (device: PciDevice): Machine => {
  const machine = new Machine([device]);
  machine.place();
  return machine;
};

const named = (device: PciDevice): readonly [string, PciDevice] => [device.name, device];

describe.each(devices.map(named))("%s", (_name, device) => {
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
    const step = fc.tuple(anyAccess, fc.constantFrom(0, 0, 1, 10, 300));
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

test.each([...devices, conventional, express].map(named))(
  "capabilities of %s stay chained as they are",
  (_name, device) => {
    fc.assert(
      fc.property(requests(40), (list) => {
        const machine = fresh(device);
        try {
          const before = [capabilityChain(machine), extendedChain(machine)];
          for (const request of list) {
            machine.post(request);
            machine.engine.abandonLate();
          }
          expect([capabilityChain(machine), extendedChain(machine)]).toEqual(before);
        } finally {
          machine.end();
        }
      }),
      RUNS,
    );
  },
);
