// SPDX-License-Identifier: MIT
/** A function that comes and goes under the guest's hands: it is there whole, or not at all. */

import { COMMAND, CONFIG } from "../../../src/spec/pci.js";
import { AT, HOT_BAR } from "../places.js";
import { type Machine, must, type Witness } from "./machine.js";

const [EDU, NOBODY] = [0x11e8_1234, 0xffff_ffff] as const;
const LIVE = 0x04;

export function visiting({ vcpu, random }: Machine): Witness {
  let [found, absent] = [0, 0];
  return {
    round() {
      const id = vcpu.configRead(AT.hot, CONFIG.vendor, 4);
      must(id === EDU || id === NOBODY, `the function that comes and goes has the id 0x${id.toString(16)}`);
      if (id === NOBODY) {
        absent += 1;
        return;
      }
      vcpu.configWrite(AT.hot, CONFIG.bar0, 4, HOT_BAR.at);
      vcpu.configWrite(AT.hot, CONFIG.command, 2, COMMAND.memory);
      const value = random.word();
      vcpu.write(HOT_BAR.at + LIVE, 4, value);
      const read = vcpu.read(HOT_BAR.at + LIVE, 4);
      // It may have gone since, and come again without an address.
      must(
        read === ~value >>> 0 || read === NOBODY,
        `LIVE of it is 0x${read.toString(16)} after 0x${value.toString(16)}`,
      );
      found += 1;
    },
    finish: () => ({ "looks at a function that was there": found, "looks at one that was not": absent }),
  };
}
