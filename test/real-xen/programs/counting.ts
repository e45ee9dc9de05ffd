// SPDX-License-Identifier: MIT
/** All vCPUs read the counter, and check that no number is missing and none comes twice, until a device appears. */

import type { GuestCpu } from "../../../src/sim/guest.js";
import { check, use } from "../../guest-suite/case.js";

/** Reads between two looks for the device that ends it. */
const SERIES = 50;
/** In the shared memory: where the counter is, how many reads there were; then a bit for each number read. */
const [AT, READS, SEEN] = [0, 1, 16] as const;
const NOBODY = 0xffff_ffff;

export default function counting(cpu: GuestCpu): void {
  const end = cpu.arguments[0] as string;
  const words = new Int32Array(cpu.shared);
  if (cpu.id === 0) words[AT] = use(cpu, "counter").bars[0] as number;
  cpu.barrier();
  const next = (words[AT] as number) >>> 0;
  if (cpu.id === 0) cpu.write(next + 0x08, 4, 0); // again from 0
  cpu.barrier();
  cpu.step("counting");
  let last = -1;
  while (cpu.configRead(end, 0, 4) === NOBODY) {
    for (const value of cpu.readSeries(next, 4, SERIES)) {
      check(value > last, `vCPU ${cpu.id} read ${value} after ${last}`);
      last = value;
      const before = Atomics.or(words, SEEN + (value >>> 5), 1 << (value & 31));
      check((before & (1 << (value & 31))) === 0, `${value} came twice`);
    }
    Atomics.add(words, READS, SERIES);
  }
  cpu.barrier();
  if (cpu.id !== 0) return;
  const reads = words[READS] as number;
  const count = cpu.read(next + 0x04, 4);
  check(count === reads, `the counter counted ${count} reads, and there were ${reads}`);
  cpu.step(`${reads} reads by ${cpu.vcpus} vCPUs, no gap and no repeat`);
}
