// SPDX-License-Identifier: MIT
/** Power management: D0 and D3hot. Source: PCI Bus Power Management 1.2, 3.2. */

import { CAPABILITY, POWER } from "../../spec/pci.js";
import type { Capability } from "../capability.js";

const VERSION_1_2 = 3;

/**
 * In D3hot the function answers in configuration space only; back in D0 it is as it was (No_Soft_Reset).
 * What D3hot switches off is in src/pci/function.ts.
 */
export function powerManagement(options: { readonly at?: number } = {}): Capability {
  return {
    name: "PM",
    id: CAPABILITY.power,
    length: 8,
    ...options,
    regs: {
      CAPABILITIES: { at: 0x02, width: 2, reset: VERSION_1_2 },
      CONTROL: {
        at: 0x04,
        width: 2,
        reset: POWER.noSoftReset,
        rw: POWER.stateMask | POWER.pmeEnable,
        w1c: POWER.pmeStatus,
        doc: "bits 1:0: 0 on (D0), 3 off (D3hot)",
      },
      BRIDGE: { at: 0x06, width: 1 },
      DATA: { at: 0x07, width: 1 },
    },
    attach({ registers: { CONTROL: control } }) {
      // A state that is not there is not entered: the write is taken, these bits of it are not. 3.2.4.
      control?.onWrite((_raw, _mask, before) => {
        const state = control.value & POWER.stateMask;
        if (state === POWER.d0 || state === POWER.d3hot) return;
        control.value = (control.value & ~POWER.stateMask) | (before & POWER.stateMask);
      });
    },
  };
}
