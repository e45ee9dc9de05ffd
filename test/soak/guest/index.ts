// SPDX-License-Identifier: MIT
/**
 * The soak's guest: two vCPUs that keep every device busy until they are told
 * to stop, and verify all that they see. Words: a seed.
 */

import type { GuestVcpu } from "../../../src/sim/guest.js";
import { AT, BARS, RAM } from "../places.js";
import { computing } from "./computing.js";
import { counting } from "./counting.js";
import { machine, switchOn, type Witness } from "./machine.js";
import { messages } from "./messages.js";
import { moving } from "./moving.js";
import { visiting } from "./visiting.js";
import { buffered, serial } from "./writing.js";

/** What a vCPU tells at its end. */
export interface Finish {
  readonly verified: Readonly<Record<string, number>>;
  /** Milliseconds of each access that took long. */
  readonly pauses: readonly number[];
  /** Where its mover's BARs are now: places of memory and ports. */
  readonly mover: readonly [number, number];
}

export default function soak(real: GuestVcpu): void {
  const place = machine(real, Number(real.arguments[0]));
  const { vcpu, random, pauses } = place;
  if (vcpu.id === 0)
    for (const name of ["counter", "edu", "probe", "serial", "ring"] as const) switchOn(vcpu, AT[name], BARS[name]);
  vcpu.barrier();
  const mover = moving(place);
  const own = vcpu.id === 0 ? [computing(place), visiting(place)] : [messages(place), serial(place)];
  const witnesses: Witness[] = [counting(place), mover, buffered(place), ...own];
  vcpu.step("soaking");
  const words = new Int32Array(vcpu.ram.buffer);
  while (Atomics.load(words, RAM.stop >>> 2) === 0) random.pick(witnesses).round();
  vcpu.barrier();
  const verified: Record<string, number> = {};
  for (const witness of witnesses) Object.assign(verified, witness.finish());
  vcpu.step("soaked", { verified, pauses, mover: mover.place } satisfies Finish);
}
