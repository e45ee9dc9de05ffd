// SPDX-License-Identifier: MIT
/**
 * A device with everything that a table can have, and handlers as bad as they come: they throw after they have
 * stored, answer later or never, and copy memory to wherever they are told.
 */

import { definePciDevice } from "../src/pci/define.js";

const ALL = 0xffff_ffff;
const ALL_64 = 0xffff_ffff_ffff_ffffn;

/** What it says when it throws: no other handler may. */
export const THROWN = "a handler failed, as it was told to";

/** Longest copy in bytes. */
const MOST = 256;

export const probe = definePciDevice({
  name: "fuzz-probe",
  ident: { vendor: 0x1234, device: 0xf022, classCode: 0x00ff00 },
  intx: "C",
  bars: {
    0: {
      space: "mem64",
      size: 4096,
      regs: {
        PLAIN: { at: 0x00, rw: ALL },
        WIDE: { at: 0x08, width: 8, rw: ALL_64 },
        NARROW: { at: 0x11, width: 1, rw: 0x5a, w1c: 0xa5, reset: 0xff },
        ODD: { at: 0x13, width: 2, rw: 0xff0f },
        TEXT: { at: 0x20, bytes: 13, reset: "of no meaning", rw: true },
        LATE: { at: 0x30 },
        LATE_WRITE: { at: 0x34, rw: ALL },
        THROWS: { at: 0x38, rw: ALL },
        THROWS_READ: { at: 0x3c },
        ANSWER: { at: 0x40, width: 1, rw: 0xff },
        COPY: { at: 0x48, width: 8, rw: ALL_64 },
        LINE: { at: 0x50, width: 1, rw: 1 },
        TIMER: { at: 0x54, width: 2, rw: 0xffff },
      },
    },
    2: { space: "io", size: 32, holes: "ones", regs: { PORT: { at: 0, width: 2, rw: 0xffff }, LATE: { at: 4 } } },
  },
  rom: Uint8Array.from({ length: 100 }, (_, i) => i),
  state: { stored: "int32", bytes: { bytes: 40 } },
  timers: ["one"],
  attach({ bars: { 0: memory, 2: ports }, state, timers, intx, dma, log }) {
    const waiting: Array<() => void> = [];
    memory.LATE.onReadLater((reply) => waiting.push(() => reply(-1)));
    ports.LATE.onReadLater((reply) => waiting.push(() => reply(0x1234_5678)));
    memory.LATE_WRITE.onWriteLater((raw, done) => {
      state.stored = raw;
      waiting.push(done);
    });
    // The answer to one may come while another is being served.
    memory.ANSWER.onWrite(() => {
      for (const answer of waiting.splice(0)) answer();
    });
    timers.one.onExpire(() => {
      for (const answer of waiting.splice(0)) answer();
      if ((memory.TIMER.value & 1) !== 0) fail();
    });
    memory.TIMER.onWrite((raw) => (raw === 0 ? timers.one.stop() : timers.one.start(raw & 0xff)));
    memory.THROWS.onWrite(fail);
    memory.THROWS_READ.onRead(fail);
    memory.LINE.onWrite((raw) => ((raw & 1) === 0 ? intx.lower() : intx.raise()));
    function fail(): never {
      memory.PLAIN.value = ~memory.PLAIN.value;
      memory.WIDE.value = ~memory.WIDE.value & ALL_64;
      state.bytes.write(
        0,
        Uint8Array.from({ length: 40 }, () => 0xee),
      );
      intx.raise();
      timers.one.start(1);
      log.guest("a handler fails");
      throw new Error(THROWN);
    }
    for (const half of ["lo", "hi"] as const) {
      memory.COPY[half].onWrite(() => {
        const bytes = new Uint8Array(memory.COPY.lo.value & (MOST - 1));
        if (!dma.read(memory.COPY.value, bytes) || !dma.write(memory.COPY.value + 1n, bytes)) log.guest("copy refused");
      });
    }
  },
});
