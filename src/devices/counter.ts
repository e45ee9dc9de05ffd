// SPDX-License-Identifier: MIT
/**
 * counter: the witness for "exactly once". Every read of NEXT gives the next
 * integer, so a read that was lost or served twice shows as a gap or a repeat.
 *
 * BAR0 is 4 KiB of memory, BAR1 the same first registers as ports. A device of
 * our own: the id is not assigned to anyone else's device known to us.
 */

import { definePciDevice } from "../pci/define.js";

const ALL = 0xffff_ffff;

const regs = {
  NEXT: { at: 0x00, doc: "reads as the next integer, from 0, wrapping after 2^32" },
  COUNT: { at: 0x04, doc: "how many reads of NEXT there were; does not count" },
  RESET: { at: 0x08, doc: "writing anything starts again from 0" },
  SCRATCH: { at: 0x0c, rw: ALL, doc: "keeps what is written" },
} as const;

export const counter = definePciDevice({
  name: "counter",
  summary: "each read gives the next integer: the witness for exactly once",
  ident: { vendor: 0x1234, device: 0xc047, classCode: 0x00ff00, revision: 0x01 },
  bars: {
    0: {
      space: "mem32",
      size: 4096,
      regs: {
        ...regs,
        LATE: { at: 0x10, doc: "as NEXT, but the answer takes DELAY milliseconds; the vCPU waits" },
        DELAY: { at: 0x14, reset: 1, rw: 0xff, doc: "milliseconds, 0 to 255" },
      },
    },
    1: { space: "io", size: 16, regs },
  },
  state: { next: "int32" },
  timers: ["late"],
  attach({ bars: { 0: memory, 1: ports }, state, timers }) {
    const take = (): number => {
      const value = state.next;
      state.next = value + 1;
      return value;
    };
    for (const bar of [memory, ports]) {
      bar.NEXT.onRead(take);
      bar.COUNT.onRead(() => state.next);
      bar.RESET.onWrite(() => {
        state.next = 0;
      });
    }

    // Who waits is not state: after a restart the vCPUs ask again.
    const waiting: Array<(value: number) => void> = [];
    memory.LATE.onReadLater((reply) => {
      waiting.push(reply);
      if (!timers.late.running) timers.late.start(memory.DELAY.value);
    });
    timers.late.onExpire(() => {
      for (const reply of waiting.splice(0)) reply(take());
    });
  },
});
