// SPDX-License-Identifier: MIT
/**
 * pcie-root-port: a PCI Express port with one slot below it, whose device comes
 * and goes while the guest runs.
 *
 * Putting something in makes presence and link change, or presses the button of
 * a slot that is switched off, and the guest switches it on and finds the device.
 * Taking it out presses the attention button; the guest lets go of the device
 * and switches the slot off, and then it is gone.
 *
 * Source: PCI Express Base 3.0, 6.7 and 7.8.9 to 7.8.11; ids from QEMU docs/specs/pci-ids.rst.
 */

import type { Register } from "../bus/register.js";
import { advancedErrors, expressRootPort } from "../pci/capabilities/express.js";
import { msi } from "../pci/capabilities/interrupts.js";
import { powerManagement } from "../pci/capabilities/power.js";
import { subsystemIds } from "../pci/capabilities/vendor.js";
import { definePciDevice } from "../pci/define.js";
import { LINK_ACTIVE, SLOT } from "../spec/pci.js";

const poweredOn = (config: Readonly<Record<string, { readonly value: number }>>): boolean =>
  ((config["EXP_SLOT_CONTROL"]?.value ?? 0) & SLOT.powerOff) === 0;

export const pcieRootPort = definePciDevice({
  name: "pcie-root-port",
  summary: "a PCI Express root port with a hot-plug slot: give it id=ID, and its device bus=ID",
  ident: { vendor: 0x1b36, device: 0x000c, classCode: 0x060400 },
  intx: "A",
  bridge: { kind: "express", open: poweredOn },
  options: {
    slot: { kind: "number", min: 0, max: 8191, default: 1, doc: "number of its slot, as the guest shows it" },
  },
  capabilities: ({ slot }) => [
    powerManagement(),
    msi({ vectors: 1 }),
    expressRootPort({ slot: Number(slot) }),
    subsystemIds({ vendor: 0x1af4, device: 0x1100 }),
    advancedErrors({ rootPort: true }),
  ],
  attach({ config, slot, intx, msi: messages }) {
    const {
      EXP_SLOT_CONTROL: control,
      EXP_SLOT_STATUS: status,
      EXP_LINK_STATUS: link,
    } = config as Record<"EXP_SLOT_CONTROL" | "EXP_SLOT_STATUS" | "EXP_LINK_STATUS", Register>;
    const hasPower = (): boolean => (control.value & SLOT.powerOff) === 0;

    status.onRead((stored) => stored | (slot.occupied ? SLOT.present : 0));
    link.onRead((stored) => stored | (slot.occupied && hasPower() ? LINK_ACTIVE : 0));

    /** Something happened that the guest wants to be told of. 6.7.3.4. */
    function wantsInterrupt(): boolean {
      if ((control.value & SLOT.interruptEnable) === 0) return false;
      const enabled =
        (control.value & (SLOT.buttonEnable | SLOT.presenceEnable)) |
        ((control.value & SLOT.linkEnable) !== 0 ? SLOT.linkChanged : 0);
      return (status.value & enabled) !== 0;
    }
    function update(): void {
      const wanted = wantsInterrupt();
      if (wanted && !intx.raised) messages.send(0);
      if (wanted) intx.raise();
      else intx.lower();
    }
    function happened(events: number): void {
      status.value |= events;
      update();
    }

    // Linux takes no notice of presence where there is a button: what goes into a slot without power is told by pressing it.
    slot.onChange(() => {
      if (hasPower()) happened(SLOT.presenceChanged | SLOT.linkChanged);
      else happened(SLOT.presenceChanged | (slot.occupied ? SLOT.buttonPressed : 0));
    });
    slot.onRequest(() => happened(SLOT.buttonPressed));
    status.onWrite(update);
    control.onWrite((_raw, _mask, before) => {
      const switched = (control.value ^ before) & SLOT.powerOff;
      if (switched !== 0 && slot.occupied) {
        happened(SLOT.linkChanged);
        if (hasPower()) slot.reset();
        else slot.release();
      }
      update();
    });
  },
});
