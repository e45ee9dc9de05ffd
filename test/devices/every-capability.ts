// SPDX-License-Identifier: MIT
/** Two devices that, together, have every capability there is. No guest is meant to use them. */

import { advancedErrors, expressEndpoint } from "../../src/pci/capabilities/express.js";
import { msi, msix } from "../../src/pci/capabilities/interrupts.js";
import { powerManagement } from "../../src/pci/capabilities/power.js";
import {
  alternativeRoutingId,
  extendedVendorSpecific,
  serialNumber,
  vendorSpecific,
} from "../../src/pci/capabilities/vendor.js";
import { definePciDevice } from "../../src/pci/define.js";

/** 256 bytes of configuration space, MSI in its shortest form. */
export const conventional = definePciDevice({
  name: "every-capability-conventional",
  ident: { vendor: 0x1234, device: 0xcab0, classCode: 0x00ff00 },
  intx: "B",
  bars: { 1: { space: "io", size: 32 } },
  capabilities: [
    vendorSpecific({ regs: { TEXT: { at: 3, bytes: 13, reset: "of no meaning" } } }),
    msi({ vectors: 4, maskable: false, address64: false }),
    powerManagement({ at: 0xdc }),
  ],
});

/** 4096 bytes, MSI in its longest form, and MSI-X. */
export const express = definePciDevice({
  name: "every-capability-express",
  ident: { vendor: 0x1234, device: 0xcab1, classCode: 0x00ff00 },
  bars: { 0: { space: "mem32", size: 0x8000 }, 5: { space: "mem32", size: 0x1000 } },
  capabilities: [
    expressEndpoint(),
    powerManagement(),
    msi({ vectors: 32 }),
    msix({ vectors: 1024, table: { bar: 0, at: 0x4000 }, pba: { bar: 5, at: 0x80 } }),
    vendorSpecific({ regs: { SCRATCH: { at: 4, rw: 0xffff_ffff } } }),
    advancedErrors(),
    serialNumber(0x0123_45ff_fe67_89abn),
    alternativeRoutingId({ nextFunction: 1 }),
    extendedVendorSpecific({ id: 0xcab, revision: 2, regs: { SCRATCH: { at: 8, rw: 0xffff_ffff } } }),
  ],
});
