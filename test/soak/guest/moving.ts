// SPDX-License-Identifier: MIT
/** A function whose BARs move again and again: it is found at the new place, and nobody at the old. */

import { COMMAND, CONFIG } from "../../../src/spec/pci.js";
import { AT, MOVES, moverBars } from "../places.js";
import { equal, type Machine, switchOn, type Witness } from "./machine.js";

const [NEXT, SCRATCH] = [0x00, 0x0c] as const;
const ALL_ONES = 0xffff_ffff;

export function moving({ vcpu, random }: Machine): Witness & { readonly place: readonly [number, number] } {
  const bdf = AT.movers[vcpu.id] as string;
  let place: [number, number] = [0, 0];
  let [moves, next] = [0, 0];
  /** What SCRATCH keeps: each BAR has its own. */
  const scratch = [0, 0] as [number, number];
  const bars = (): readonly [number, number] => {
    const [memory, ports] = moverBars(vcpu.id, ...place);
    return [memory.at, ports.at];
  };
  switchOn(vcpu, bdf, moverBars(vcpu.id, ...place));

  function move(which: 0 | 1): void {
    const before = bars()[which];
    place[which] = (place[which] + random.between(1, MOVES - 1)) % MOVES;
    vcpu.configWrite(bdf, CONFIG.bar0 + which * 4, 4, bars()[which]);
    equal(which === 0 ? vcpu.read(before, 4) : vcpu.in32(before), ALL_ONES, `${bdf} where its BAR${which} was`);
    moves += 1;
  }
  function use(): void {
    const [memory, ports] = bars();
    equal(vcpu.read(memory + SCRATCH, 4), scratch[0], `SCRATCH of ${bdf} at 0x${memory.toString(16)}`);
    equal(vcpu.in32(ports + SCRATCH), scratch[1], `SCRATCH of ${bdf} at port 0x${ports.toString(16)}`);
    equal(vcpu.in32(ports + NEXT), next, `NEXT of ${bdf} at port 0x${ports.toString(16)}`);
    next += 1;
    scratch[0] = random.word();
    scratch[1] = random.word();
    vcpu.write(memory + SCRATCH, 4, scratch[0]);
    vcpu.out32(ports + SCRATCH, scratch[1]);
    equal(vcpu.read(memory + NEXT, 4), next, `NEXT of ${bdf} at 0x${memory.toString(16)}`);
    next += 1;
  }
  function hide(): void {
    vcpu.configWrite(bdf, CONFIG.command, 2, COMMAND.io);
    equal(vcpu.read(bars()[0] + NEXT, 4), ALL_ONES, `${bdf} that decodes no memory`);
    place[0] = random.between(0, MOVES - 1);
    vcpu.configWrite(bdf, CONFIG.bar0, 4, bars()[0]);
    vcpu.configWrite(bdf, CONFIG.command, 2, COMMAND.io | COMMAND.memory);
    moves += 1;
  }

  return {
    get place() {
      return place;
    },
    round() {
      const what = random.between(0, 2);
      if (what === 2) hide();
      else move(what as 0 | 1);
      use();
    },
    finish() {
      use();
      place = [...place];
      return { "BARs moved": moves };
    },
  };
}
