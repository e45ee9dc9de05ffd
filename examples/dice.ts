// SPDX-License-Identifier: MIT
/**
 * dice: throws a die. Read THROW for 1 to 6; write SEED to know what comes.
 *
 * A device out of tree: ioreqd run --device ./examples/dice.ts
 */

import { definePciDevice } from "ioreqd";

export default definePciDevice({
  name: "dice",
  summary: "throws a die",
  ident: { vendor: 0x1234, device: 0xd1ce, classCode: 0x00ff00 },
  bars: {
    0: {
      space: "mem32",
      size: 4096,
      regs: {
        THROW: { at: 0x00, doc: "reads as 1 to 6, another one each time" },
        THROWS: { at: 0x04, doc: "how often it was thrown" },
        SEED: { at: 0x08, reset: 0x2545_f491, rw: 0xffff_ffff, doc: "where the sequence stands; not 0" },
      },
    },
  },
  attach({ bars: { 0: reg } }) {
    reg.THROW.onRead(() => {
      let x = reg.SEED.value; // xorshift32
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      reg.SEED.value = x;
      reg.THROWS.value += 1;
      return 1 + ((x >>> 0) % 6);
    });
  },
});
