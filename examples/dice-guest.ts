// SPDX-License-Identifier: MIT
/** A guest that places the dice's BAR and throws it six times. */

import type { GuestVcpu } from "ioreqd";

const DICE = "00:10.0";
const BASE = 0xf000_0000;

export default function guest(vcpu: GuestVcpu): void {
  if (vcpu.configRead(DICE, 0x00, 4) !== 0xd1ce_1234) throw new Error("there are no dice at 00:10.0");
  vcpu.configWrite(DICE, 0x10, 4, BASE); // BAR 0
  vcpu.configWrite(DICE, 0x04, 2, 0x0002); // COMMAND: decode memory
  const throws = Array.from({ length: 6 }, () => vcpu.read(BASE, 4));
  vcpu.step(`threw ${throws.join(" ")}`);
  if (vcpu.read(BASE + 4, 4) !== 6) throw new Error("it did not count the throws");
}
