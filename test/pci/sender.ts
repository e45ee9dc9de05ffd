// SPDX-License-Identifier: MIT
/** A function that sends messages as it is told to, for tests of what becomes of them. */

import type { Capability } from "../../src/pci/capability.js";
import { definePciDevice, type PciDevice } from "../../src/pci/define.js";
import { type Machine, MEMORY } from "../support/machine.js";

/** Where an MSI-X table and its pending bits have their room, in BAR 0. */
export const TABLE = MEMORY + 0x1000;
export const PBA = MEMORY + 0x1800;

/** Sends the message whose number is written to SEND; LINE pulls the pin. */
export const sender = (...capabilities: Capability[]): PciDevice =>
  definePciDevice({
    name: "sender",
    ident: { vendor: 0x1234, device: 0x0002, classCode: 0x00ff00 },
    intx: "A",
    bars: { 0: { space: "mem32", size: 0x2000, regs: { SEND: { at: 0 }, LINE: { at: 4 }, FAIL: { at: 8 } } } },
    capabilities,
    attach({ bars: { 0: reg }, msi: messages, intx }) {
      reg.SEND.onWrite((raw) => messages.send(raw));
      reg.LINE.onWrite((raw) => (raw === 0 ? intx.lower() : intx.raise()));
      reg.FAIL.onWrite((raw) => {
        messages.send(raw);
        throw new Error("as asked");
      });
    },
  });

/** Fill in the MSI-X entry of this vector. */
export function program(machine: Machine, vector: number, control = 0): void {
  machine.write(TABLE + vector * 16, 0xfee0_0000 + vector * 0x1000);
  machine.write(TABLE + vector * 16 + 4, 0);
  machine.write(TABLE + vector * 16 + 8, 0x30 + vector);
  machine.write(TABLE + vector * 16 + 12, control);
}

/** What the machine says that it was asked when such an entry's message goes. */
export const message = (vector: number): string =>
  `msi 0x${(0xfee0_0000 + vector * 0x1000).toString(16)} 0x${(0x30 + vector).toString(16)}`;
