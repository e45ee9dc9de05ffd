// SPDX-License-Identifier: MIT
/** A guest program for the tests: one port read on each vCPU. */
import type { GuestVcpu } from "../../src/sim/index.js";

export default function oneAccess(vcpu: GuestVcpu): void {
  vcpu.in8(0x500);
}
