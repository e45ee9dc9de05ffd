// SPDX-License-Identifier: MIT
/**
 * A guest that reads one register all the time, and fails where that gives anything but its value, or all-ones where
 * nobody is there. Arguments: the register's address, its value, and where in memory it is told to end.
 */

import { ok } from "node:assert/strict";
import type { GuestVcpu } from "../../src/sim/index.js";

const ALL_ONES = 0xffff_ffff;

export default (cpu: GuestVcpu): void => {
  const [address, value, stop] = cpu.arguments.map(Number) as [number, number, number];
  while (cpu.ram[stop] === 0) {
    const read = cpu.read(address, 4);
    ok(read === value || read === ALL_ONES, `it read ${read.toString(16)}`);
  }
};
