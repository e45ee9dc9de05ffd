// SPDX-License-Identifier: MIT
/** A function takes the place of another under a running guest, over plain memory. */

import { sbdf } from "../../src/base/ids.js";
import type { Reply } from "../../src/bus/access.js";
import { definePciDevice, type PciDevice } from "../../src/pci/define.js";
import type { PciFunction } from "../../src/pci/function.js";
import { DIR_READ, STATE } from "../../src/spec/xen-ioreq.js";
import { Machine, MEMORY } from "../support/machine.js";

const ALL = 0xffff_ffff;
const reserve = { data: 8192, layout: 16_384 };
let owed: Reply[] = [];

const card = (version: number, size = 4096, fails = false): PciDevice =>
  definePciDevice({
    name: "card",
    ident: { vendor: 0x1234, device: 0x0042, classCode: 0x00ff00 },
    intx: "A",
    bars: {
      0: {
        space: "mem32",
        size,
        regs: {
          A: { at: version * 4, rw: ALL },
          VERSION: { at: 0x40, reset: version },
          LATE: { at: 0x44 },
          LINE: { at: 0x48, rw: 1 },
        },
      },
    },
    timers: ["tick"],
    attach({ bars: { 0: reg }, intx, timers }) {
      if (fails) throw new TypeError("no such thing");
      reg.LATE.onReadLater((reply) => owed.push((value) => reply(value + version)));
      reg.LINE.onWrite((raw) => (raw === 0 ? intx.lower() : intx.raise()));
      timers.tick.onExpire(() => {});
    },
  });

function machine(): Machine {
  owed = [];
  const made = new Machine([card(1)], undefined, reserve);
  made.place();
  made.write(MEMORY + 4, 0xcafe);
  return made;
}
function replace(made: Machine, device: PciDevice): PciFunction {
  const [former] = made.tree.functions as [PciFunction];
  const spec = { device: "card", options: {} };
  return made.hotplug.replace(former, { device, sbdf: sbdf(0, 0, 0x10, 0), options: {}, spec });
}

test("it has the state of the one before, by name, and nobody else is told anything", () => {
  const made = machine();
  replace(made, card(2));
  expect(made.read(MEMORY + 8)).toBe(0xcafe);
  expect(made.read(MEMORY + 0x40)).toBe(2);
  expect(made.asked).toEqual([]);
});

test("a line that was up stays up, and the new code lowers it", () => {
  const made = machine();
  made.write(MEMORY + 0x48, 1);
  replace(made, card(2));
  made.write(MEMORY + 0x48, 0);
  expect(made.asked).toEqual(["intx 10.A raise", "intx 10.A lower"]);
});

test("a vCPU that waits for an answer gets it from the new one", () => {
  const made = machine();
  made.post({ addr: BigInt(MEMORY + 0x44), flags: DIR_READ }, 3);
  replace(made, card(2));
  expect(owed).toHaveLength(2);
  (owed[0] as Reply)(100);
  expect(made.state(3)).toBe(STATE.inProcess);
  (owed[1] as Reply)(100);
  expect([made.state(3), made.answer(3)]).toEqual([STATE.respReady, 102n]);
});

test.each<[string, PciDevice, string]>([
  ["code that can't be attached", card(2, 4096, true), "DEVICE_FAILED"],
  ["a BAR that its address does not suit any more", card(2, 1 << 28), "STATE_INCOMPATIBLE"],
])("%s leaves the former as it was", (_, device, code) => {
  const made = machine();
  made.configWrite(0, 0x10, MEMORY + 0x1000);
  const before = made.arena.layout();
  expect(() => replace(made, device)).toThrow(expect.objectContaining({ code }) as Error);
  expect(made.arena.layout()).toBe(before);
  expect(made.read(MEMORY + 0x1004)).toBe(0xcafe);
  made.post({ addr: BigInt(MEMORY + 0x1044), flags: DIR_READ });
  expect(owed).toHaveLength(1);
});

test("again and again, it needs no more room", () => {
  const made = machine();
  for (let n = 0; n < 200; n += 1) replace(made, card(1 + (n % 8)));
  expect(made.read(MEMORY + 8 * 4)).toBe(0xcafe);
});
