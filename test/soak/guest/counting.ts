// SPDX-License-Identifier: MIT
/** One counter for all vCPUs: by memory, by ports, by rep instructions, and late. Every number comes exactly once. */

import { BARS, RAM } from "../places.js";
import { equal, type Machine, must, type Witness } from "./machine.js";

const [{ at: MEMORY }, { at: PORTS }] = BARS.counter;
const [NEXT, COUNT, LATE] = [0x00, 0x04, 0x10] as const;
const MOST = RAM.givenBytes * 8;

export function counting({ vcpu, random, buffer }: Machine): Witness {
  const given = new Int32Array(vcpu.ram.buffer, RAM.given, RAM.givenBytes / 4);
  let [last, late, rep] = [-1, 0, 0];

  function take(value: number): void {
    must(value > last, () => `the counter gave ${value} after ${last}`);
    must(value < MOST, "the counter gave more numbers than there is room to note");
    last = value;
    const bit = 1 << (value & 31);
    must((Atomics.or(given, value >>> 5, bit) & bit) === 0, () => `the counter gave ${value} twice`);
  }
  /** 32-bit words that a rep instruction has put into memory. */
  const moved = (count: number): Uint32Array => new Uint32Array(vcpu.ram.buffer, buffer, count).slice();

  function insert(): void {
    const count = random.between(1, 64);
    const done = vcpu.repIns(PORTS + NEXT, buffer, 4, count);
    equal(done, count, "elements of a rep ins");
    const values = moved(count);
    values.forEach((value, i) => {
      equal(value, (values[0] as number) + i, `element ${i} of a rep ins of the counter`);
      take(value);
    });
    rep += count;
  }
  /** NEXT twice, the second time late: as a loop of rep movs from LATE and DELAY, and one over NEXT and COUNT. */
  function move(): void {
    equal(vcpu.repMovs(buffer, MEMORY + LATE, 4, 2), 2, "elements of a rep movs");
    const [value = 0, delay] = moved(2);
    take(value);
    equal(delay as number, 1, "DELAY, the second element of a rep movs");
    late += 1;
    rep += 2;
  }

  return {
    round() {
      const what = random.between(0, 15);
      if (what === 0) {
        take(vcpu.read(MEMORY + LATE, 4));
        late += 1;
      } else if (what === 1) move();
      else if (what < 4) insert();
      else if (what < 10) for (let i = random.between(1, 20); i > 0; i -= 1) take(vcpu.read(MEMORY + NEXT, 4));
      else for (let i = random.between(1, 20); i > 0; i -= 1) take(vcpu.in32(PORTS + NEXT));
    },
    finish() {
      const count = vcpu.read(MEMORY + COUNT, 4);
      for (let value = 0; value < count; value += 1) {
        must(((given[value >>> 5] as number) & (1 << (value & 31))) !== 0, `nobody was given the counter's ${value}`);
      }
      must(last < count, () => `the counter counted ${count} and gave ${last}`);
      return { "counter numbers": vcpu.id === 0 ? count : 0, "late answers": late, "rep elements": rep };
    },
  };
}
