// SPDX-License-Identifier: MIT
/**
 * alarm: write SET, and so many milliseconds later it interrupts: by message where
 * the guest enabled MSI or MSI-X, else by its pin until RANG is cleared.
 *
 * A device out of tree: ioreqd run --device ./examples/alarm.ts
 */

import { definePciDevice, msi, msix, powerManagement, vendorSpecific } from "ioreqd";

export default definePciDevice({
  name: "alarm",
  summary: "interrupts after a while",
  ident: { vendor: 0x1234, device: 0xa1a2, classCode: 0x00ff00 },
  intx: "A",
  bars: {
    0: {
      space: "mem32",
      size: 4096,
      regs: {
        SET: { at: 0x00, rw: 0xffff, doc: "milliseconds until it rings" },
        RANG: { at: 0x04, w1c: 1, doc: "1 once it rang, until written" },
      },
    },
    // The framework puts the table and the pending bits here.
    1: { space: "mem32", size: 4096 },
  },
  capabilities: [
    powerManagement(),
    msi({ vectors: 1 }),
    msix({ vectors: 1, table: { bar: 1, at: 0 }, pba: { bar: 1, at: 0x800 } }),
    vendorSpecific({ regs: { CLOCKS: { at: 3, width: 1, reset: 1, doc: "how many clocks it has" } } }),
  ],
  timers: ["clock"],
  attach({ bars: { 0: reg }, timers, intx, msi: message }) {
    reg.SET.onWrite(() => timers.clock.start(reg.SET.value));
    reg.RANG.onWrite(() => {
      if (reg.RANG.value === 0) intx.lower();
    });
    timers.clock.onExpire(() => {
      reg.RANG.value = 1;
      if (message.enabled) message.send(0);
      else intx.raise();
    });
  },
});
