// SPDX-License-Identifier: MIT
import { definePciDevice } from "../../src/pci/define.js";
import { STATE, TYPE } from "../../src/spec/xen-ioreq.js";
import { Machine, MEMORY } from "../support/machine.js";

test("a buffered write that a device finishes later holds up no vCPU: nobody waits for it", () => {
  const unfinished: Array<() => void> = [];
  const machine = new Machine([
    definePciDevice({
      name: "slow",
      ident: { vendor: 0x1234, device: 1, classCode: 0x00ff00 },
      bars: { 0: { space: "mem32", size: 4096, regs: { SLOW: { at: 0 }, FAST: { at: 4, reset: 7 } } } },
      attach({ bars: { 0: reg } }) {
        reg.SLOW.onWriteLater((_raw, done) => unfinished.push(done));
      },
    }),
  ]);
  machine.place();
  machine.engine.hostWork.applyBuffered(TYPE.copy, MEMORY | 0, 4, 1, 0, 0, 1);
  expect(machine.read(MEMORY + 4)).toBe(7);
  expect(machine.state()).toBe(STATE.respReady);
  expect(machine.engine.waiting).toBe(0);
  for (const done of unfinished) done();
  expect(machine.read(MEMORY + 4)).toBe(7);
});
