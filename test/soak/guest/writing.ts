// SPDX-License-Identifier: MIT
/** What nobody waits for: writes by the buffered ring, and bytes by the serial port. */

import { BARS, RING, RING_BANK } from "../places.js";
import { streamByte } from "../serial-stream.js";
import { equal, type Machine, type Witness } from "./machine.js";

/** More than the ring has room for: then the rest goes as ordinary requests. */
const OVERFLOWING = 600;

export function buffered({ vcpu, random }: Machine): Witness {
  const [{ at: seen }, { at: taken }] = BARS.ring;
  const bank = vcpu.id * RING_BANK;
  let put = 0;
  const read = (at: number): number => vcpu.read(seen + bank + at, 4);
  return {
    round() {
      const burst = random.between(0, 19) === 0 ? OVERFLOWING : random.between(1, 40);
      for (let i = 0; i < burst; i += 1) vcpu.vgaWrite(taken + bank + RING.put, 4, ++put);
      // What went into the ring is applied before this is answered.
      equal(read(RING.put), put, "the last write that went by the ring");
    },
    finish() {
      equal(read(RING.count), put, "writes that went by the ring");
      equal(read(RING.wrong), 0, "writes that went by the ring and came out of order");
      return { "buffered writes": put };
    },
  };
}

export function serial({ vcpu, random, buffer }: Machine): Witness {
  const [{ at: DATA }] = BARS.serial;
  let position = 0;
  function repeated(): void {
    const count = random.between(2, 200);
    vcpu.ramWrite(
      buffer,
      Uint8Array.from({ length: count }, (_, i) => streamByte(position + i)),
    );
    equal(vcpu.repOuts(DATA, buffer, 1, count), count, "elements of a rep outs");
    position += count;
  }
  return {
    round() {
      if (random.between(0, 3) === 0) repeated();
      else {
        for (let i = random.between(1, 20); i > 0; i -= 1) {
          vcpu.out8(DATA, streamByte(position));
          position += 1;
        }
      }
    },
    finish: () => ({ "serial bytes": position }),
  };
}
