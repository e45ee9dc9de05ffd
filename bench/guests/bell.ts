// SPDX-License-Identifier: MIT
/** A device that sends a message each time it is written to, and does nothing else. */

import { msi } from "../../src/pci/capabilities/interrupts.js";
import { definePciDevice } from "../../src/pci/define.js";

export default definePciDevice({
  name: "bell",
  ident: { vendor: 0x1234, device: 0x0001, classCode: 0x00ff00 },
  bars: { 0: { space: "mem32", size: 4096, regs: { RING: { at: 0 } } } },
  capabilities: [msi({ vectors: 1, maskable: false })],
  attach({ bars: { 0: reg }, msi: messages }) {
    reg.RING.onWrite(() => void messages.send(0));
  },
});
