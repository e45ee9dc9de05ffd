// SPDX-License-Identifier: MIT
/** The guest program of the suite: runs the case that its first argument names. */

import type { GuestCpu } from "../../src/sim/guest.js";
import { CASES } from "./index.js";

export default function program(cpu: GuestCpu): void {
  const [name] = cpu.arguments;
  const found = CASES.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`there is no case "${name}"`);
  found.program(cpu);
}
