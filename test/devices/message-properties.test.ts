// SPDX-License-Identifier: MIT
/** What holds of messages, whatever a guest does to their masks. See properties.test.ts for budget and seed. */

import fc from "fast-check";
import { msixProbe } from "../../src/devices/msix-probe.js";
import { Machine, MEMORY } from "../support/machine.js";
import { anyAccess } from "./any-access.js";

const RUNS: fc.Parameters<unknown> = {
  numRuns: 100_000,
  interruptAfterTimeLimit: 2000,
  ...(process.env["SEED"] === undefined ? {} : { seed: Number(process.env["SEED"]) }),
};

const VECTORS = 40;
const AT = { fire: 0x08, asked: 0x10, sent: 0x14, waited: 0x18, late: 0x1c, merged: 0x20, lost: 0x24 } as const;
const COMMAND = 0x04;
const POWER = 0x44;
const MSI = { control: 0x4a, address: 0x4c, data: 0x54, mask: 0x58, pending: 0x5c } as const;
const MSIX_CONTROL = 0x9e;
const TABLE = MEMORY + 0x0100_0000;
const PBA = TABLE + 0x8000;
/** Of MSI-X from 0x100 on, one for each; of MSI below. */
const MSIX_DATA = 0x130;
const MSI_DATA = 0x40;

/** What a guest does to messages. */
const step = fc.oneof(
  fc.record({ do: fc.constant("fire" as const), value: fc.oneof(fc.nat(VECTORS + 2), fc.nat(3)) }),
  fc.record({ do: fc.constant("mask" as const), value: fc.oneof(fc.nat(VECTORS - 1), fc.nat(3)), on: fc.boolean() }),
  fc.record({ do: fc.constant("msix" as const), value: fc.constantFrom(0, 0x4000, 0x8000, 0x8000, 0x8000, 0xc000) }),
  fc.record({ do: fc.constant("msi" as const), value: fc.constantFrom(0, 0x01, 0x11, 0x31, 0x51, 0x71) }),
  fc.record({ do: fc.constant("msi mask" as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
  fc.record({ do: fc.constant("command" as const), value: fc.constantFrom(0x2, 0x6, 0x6) }),
);
type Step = { do: string; value: number; on?: boolean };

function started(): Machine {
  const machine = new Machine([{ device: msixProbe, options: { vectors: VECTORS } }]);
  machine.place();
  for (let vector = 0; vector < VECTORS; vector += 1) {
    machine.write(TABLE + vector * 16, 0xfee0_0000);
    machine.write(TABLE + vector * 16 + 8, MSIX_DATA + vector);
  }
  machine.configWrite(0, MSI.address, 0xfee0_0000);
  machine.configWrite(0, MSI.data, MSI_DATA, 2);
  return machine;
}

function take(machine: Machine, { do: what, value, on }: Step): void {
  if (what === "fire") machine.write(MEMORY + AT.fire, value);
  if (what === "mask") machine.write(TABLE + value * 16 + 12, on === true ? 1 : 0);
  if (what === "msix") machine.configWrite(0, MSIX_CONTROL, value, 2);
  if (what === "msi") machine.configWrite(0, MSI.control, value, 2);
  if (what === "msi mask") machine.configWrite(0, MSI.mask, value);
  if (what === "command") machine.configWrite(0, COMMAND, value, 2);
}

/** What the registers that a guest sees say of each message: may it go, is it pending? MSI is looked at first. */
function allowed(machine: Machine) {
  const msi = machine.configRead(0, MSI.control, 2);
  const msix = machine.configRead(0, MSIX_CONTROL, 2);
  const master = (machine.configRead(0, COMMAND, 2) & 4) !== 0;
  const mask = machine.configRead(0, MSI.mask);
  const useMsi = (msi & 1) !== 0;
  return {
    msi: (message: number): boolean => master && useMsi && ((mask >>> message) & 1) === 0,
    msix: (vector: number): boolean =>
      master && !useMsi && (msix & 0xc000) === 0x8000 && (machine.read(TABLE + vector * 16 + 12) & 1) === 0,
    spare: (1 << ((msi >>> 4) & 7)) - 1,
  };
}

const messagesOf = (machine: Machine): number[] =>
  machine.asked.splice(0).flatMap((line) => (line.startsWith("msi ") ? [Number(line.split(" ")[2])] : []));
const counts = (machine: Machine): Record<keyof typeof AT, number> =>
  Object.fromEntries(Object.entries(AT).map(([name, at]) => [name, machine.read(MEMORY + at)])) as Record<
    keyof typeof AT,
    number
  >;

test("nothing masked is sent, nothing that may go stays pending, and the device counts what the host saw", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const machine = started();
      try {
        let sent = 0;
        for (const one of steps) {
          take(machine, one);
          const may = allowed(machine);
          for (const data of messagesOf(machine)) {
            sent += 1;
            if (data >= MSIX_DATA) expect([one, data, may.msix(data - MSIX_DATA)]).toEqual([one, data, true]);
            // Several numbers that were pending may have become one, of which one at least is not masked.
            else
              expect(
                Array.from({ length: 32 }, (_, n) => n).some((n) => (n & may.spare) === data - MSI_DATA && may.msi(n)),
              ).toBe(true);
          }
          for (let vector = 0; vector < VECTORS; vector += 1) {
            const pending = (machine.read(PBA + (vector >>> 3), 1) & (1 << (vector & 7))) !== 0;
            if (pending) expect([one, vector, may.msix(vector)]).toEqual([one, vector, false]);
          }
          const waiting = machine.configRead(0, MSI.pending);
          for (let n = 0; n < 32; n += 1) if (((waiting >>> n) & 1) !== 0) expect(may.msi(n)).toBe(false);
        }
        machine.configWrite(0, COMMAND, 0x6, 2);
        sent += messagesOf(machine).length;
        const counted = counts(machine);
        expect(counted.sent).toBe(sent);
        expect(counted.asked).toBe(steps.filter((one) => one.do === "fire").length);
        expect(counted.asked).toBeGreaterThanOrEqual(counted.sent);
        expect(counted.asked).toBe(counted.sent - counted.late + counted.waited + counted.merged + counted.lost);
      } finally {
        machine.end();
      }
    }),
    RUNS,
  );
});

test("its counts add up, whatever else is done to the device", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(step, anyAccess), { maxLength: 60 }), (steps) => {
      const machine = started();
      try {
        for (const one of steps) {
          if ("do" in one) take(machine, one);
          else machine.post(one);
        }
        machine.configWrite(0, POWER, 0, 2);
        machine.place();
        const { asked, sent, waited, late, merged, lost } = counts(machine);
        expect(asked).toBe(sent - late + waited + merged + lost);
        for (const count of [asked, sent, waited, late, merged, lost, waited - late]) {
          expect(count).toBeGreaterThanOrEqual(0);
        }
        expect(machine.counters.handlerErrors).toBe(0);
      } finally {
        machine.end();
      }
    }),
    RUNS,
  );
});
