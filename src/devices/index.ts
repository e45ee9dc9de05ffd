// SPDX-License-Identifier: MIT
/** The devices there are. A new one is a file here, a line here, and a page in docs/devices. */

import type { PciDevice } from "../pci/define.js";
import { counter } from "./counter.js";
import { edu } from "./edu.js";
import { msixProbe } from "./msix-probe.js";
import { pciSerial } from "./pci-serial.js";
import { pciTestdev } from "./pci-testdev.js";
import { pvpanic } from "./pvpanic.js";

export const devices: readonly PciDevice[] = [counter, edu, msixProbe, pciSerial, pciTestdev, pvpanic];
