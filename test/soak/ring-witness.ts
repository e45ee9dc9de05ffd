// SPDX-License-Identifier: MIT
/**
 * ring-witness: the witness for writes that nobody waits for. Each must be one
 * more than the one before: a write that was lost, done twice or out of order
 * is counted.
 *
 * BAR0 tells, BAR1 takes the writes: it can lie where Xen buffers them. There is
 * a bank of registers for each vCPU, whose writes come in its own order only.
 */

import type { Register } from "../../src/bus/register.js";
import { definePciDevice } from "../../src/pci/define.js";
import { RING, RING_BANK } from "./places.js";

const bank = (at: number) => ({
  last: { at: at + RING.put, doc: "what was written last" },
  count: { at: at + RING.count, doc: "writes" },
  wrong: { at: at + RING.wrong, doc: "of those, the ones that were not one more than the last" },
});
const [first, second] = [bank(0), bank(RING_BANK)];

export default definePciDevice({
  name: "ring-witness",
  summary: "counts writes that come out of their order: the witness for the buffered ring",
  ident: { vendor: 0x1234, device: 0xb0f1, classCode: 0x00ff00 },
  bars: {
    0: {
      space: "mem32",
      size: 4096,
      regs: {
        LAST0: first.last,
        COUNT0: first.count,
        WRONG0: first.wrong,
        LAST1: second.last,
        COUNT1: second.count,
        WRONG1: second.wrong,
      },
    },
    1: {
      space: "mem32",
      size: 4096,
      regs: {
        PUT0: { at: RING.put, rw: 0xffff_ffff },
        PUT1: { at: RING_BANK + RING.put, rw: 0xffff_ffff },
      },
    },
  },
  attach({ bars: { 0: seen, 1: taken } }) {
    count(taken.PUT0, seen.LAST0, seen.COUNT0, seen.WRONG0);
    count(taken.PUT1, seen.LAST1, seen.COUNT1, seen.WRONG1);
  },
});

function count(put: Register, last: Register, writes: Register, wrong: Register): void {
  put.onWrite((value) => {
    if (value !== last.value + 1) wrong.value += 1;
    last.value = value;
    writes.value += 1;
  });
}
