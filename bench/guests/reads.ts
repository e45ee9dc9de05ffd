// SPDX-License-Identifier: MIT
/** Reads one register at 0xf0000000, as fast as it can. Words: how many reads count, how many go before. */

import type { GuestVcpu } from "../../src/sim/index.js";
import { BAR } from "../../src/spec/pci.js";

const BASE = 0xf000_0000;
const FUNCTION = "00:10.0";

export default function reads(vcpu: GuestVcpu): void {
  const [counted = "100000", before = "20000"] = vcpu.arguments;
  // The C servers have the address from the start, and ignore these.
  vcpu.configWrite(FUNCTION, 0x10, 4, BASE & ~BAR.io);
  vcpu.configWrite(FUNCTION, 0x04, 2, 0x0002);
  for (let i = 0; i < Number(before); i += 1) vcpu.read(BASE, 4);
  vcpu.resetRoundTrips();
  for (let i = 0; i < Number(counted); i += 1) vcpu.read(BASE, 4);
}
