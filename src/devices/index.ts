// SPDX-License-Identifier: MIT
/** The devices there are. A new one is a file here, a line here, and a page in docs/devices. */

import type { PciDevice } from "../pci/define.js";
import { counter } from "./counter.js";
import { edu } from "./edu.js";
import { msixProbe } from "./msix-probe.js";
import { pciBridge } from "./pci-bridge.js";
import { pciSerial } from "./pci-serial.js";
import { pciTestdev } from "./pci-testdev.js";
import { pcieRootPort } from "./pcie-root-port.js";
import { pvpanic } from "./pvpanic.js";
import { q35Host } from "./q35-host.js";

export const devices: readonly PciDevice[] = [
  counter,
  edu,
  msixProbe,
  pciBridge,
  pcieRootPort,
  pciSerial,
  pciTestdev,
  pvpanic,
  q35Host,
];
