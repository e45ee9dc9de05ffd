// SPDX-License-Identifier: MIT
/** Accesses of a batch, one after another. */

import type { Access, GuestCpu } from "./guest.js";

/** Of each read its value, of each write 0. */
export function runBatch(cpu: GuestCpu, accesses: readonly Access[]): number[] {
  return accesses.map((access) => runAccess(cpu, access));
}

function runAccess(cpu: GuestCpu, access: Access): number {
  const { width, value } = access;
  if ("port" in access) {
    if (value === undefined) return cpu.in(access.port, width);
    cpu.out(access.port, width, value);
  } else if ("gpa" in access) {
    if (value === undefined) return cpu.read(access.gpa, width);
    cpu.write(access.gpa, width, value);
  } else {
    if (value === undefined) return cpu.configRead(access.config, access.at, width);
    cpu.configWrite(access.config, access.at, width, value);
  }
  return 0;
}
