// SPDX-License-Identifier: MIT
/** Rings for a message and waits for it, over and over. Words: how often that counts, how often before. */

import type { GuestVcpu } from "../../src/sim/index.js";

const BASE = 0xf000_0000;
const FUNCTION = "00:10.0";
const MSI = 0x40;

export default function messages(vcpu: GuestVcpu): void {
  const [counted = "20000", before = "5000"] = vcpu.arguments;
  // The C servers send from the start, and ignore these.
  vcpu.configWrite(FUNCTION, 0x10, 4, BASE);
  vcpu.configWrite(FUNCTION, 0x04, 2, 0x0006);
  vcpu.configWrite(FUNCTION, MSI + 0x04, 4, 0xfee0_0000);
  vcpu.configWrite(FUNCTION, MSI + 0x0c, 2, 0x41);
  vcpu.configWrite(FUNCTION, MSI + 0x02, 2, 1);
  const times: number[] = [];
  for (let i = 0; i < Number(before) + Number(counted); i += 1) {
    const start = process.hrtime.bigint();
    vcpu.write(BASE, 4, 0);
    if ((vcpu.takeMsi() ?? vcpu.waitMsi()) === null) throw new Error("no message came");
    if (i >= Number(before)) times.push(Number(process.hrtime.bigint() - start));
  }
  times.sort((a, b) => a - b);
  const at = (part: number): number => times[Math.floor(times.length * part)] as number;
  vcpu.step("messages", { p50: at(0.5), p99: at(0.99) });
}
