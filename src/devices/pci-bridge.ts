// SPDX-License-Identifier: MIT
/**
 * pci-bridge: a PCI-PCI bridge. All it does is in its header of type 1: bus
 * numbers, windows and the reset of the bus behind.
 *
 * Source: PCI-to-PCI Bridge Architecture 1.2; ids from QEMU docs/specs/pci-ids.rst.
 */

import { powerManagement } from "../pci/capabilities/power.js";
import { subsystemIds } from "../pci/capabilities/vendor.js";
import { definePciDevice } from "../pci/define.js";

export const pciBridge = definePciDevice({
  name: "pci-bridge",
  summary: "a PCI bridge: give it id=ID, and devices behind it bus=ID",
  ident: { vendor: 0x1b36, device: 0x0001, classCode: 0x060400 },
  bridge: { kind: "pci" },
  capabilities: [powerManagement(), subsystemIds({ vendor: 0x1af4, device: 0x1100 })],
});
