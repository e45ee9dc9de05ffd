// SPDX-License-Identifier: MIT
/** The machines that inputs run on: every device of the list, in every kind of place. */

import { sbdf } from "../src/base/ids.js";
import { counter } from "../src/devices/counter.js";
import { edu } from "../src/devices/edu.js";
import { msixProbe } from "../src/devices/msix-probe.js";
import { pciBridge } from "../src/devices/pci-bridge.js";
import { pciSerial } from "../src/devices/pci-serial.js";
import { pciTestdev } from "../src/devices/pci-testdev.js";
import { pcieRootPort } from "../src/devices/pcie-root-port.js";
import { pvpanic } from "../src/devices/pvpanic.js";
import { q35Host } from "../src/devices/q35-host.js";
import type { OptionValues, PciDevice } from "../src/pci/define.js";
import type { DeviceRequest } from "../src/pci/plan.js";
import type { HostWindows } from "../src/pci/windows.js";
import { probe } from "./probe.js";

export interface Topology {
  readonly name: string;
  readonly devices: readonly DeviceRequest[];
  readonly hosts: readonly HostWindows[];
}

interface Where {
  readonly segment?: number;
  readonly bus?: number;
  readonly id?: string;
  readonly behind?: string;
  readonly options?: OptionValues;
}

/** A device as an operator asks for it, with the defaults of its options. `at`: device and function. */
export function request(device: PciDevice, at: readonly [number, number], where: Where = {}): DeviceRequest {
  const { segment = 0, bus = 0, id, behind, options } = where;
  const defaults = Object.fromEntries(Object.entries(device.options ?? {}).map(([key, row]) => [key, row.default]));
  return {
    device,
    sbdf: sbdf(segment, bus, ...at),
    options: { ...defaults, ...options },
    ...(id === undefined ? {} : { id }),
    ...(behind === undefined ? {} : { bus: behind }),
  };
}

const ONE_HOST: readonly HostWindows[] = [{ segment: 0, bus: 0 }];

export const topologies: readonly Topology[] = [
  {
    name: "all on one bus",
    hosts: ONE_HOST,
    devices: [
      request(probe, [0x10, 0]),
      request(edu, [0x11, 0], { options: { dma_mask_bits: 64 } }),
      request(msixProbe, [0x12, 0]),
      request(pciSerial, [0x13, 0]),
      request(counter, [0x13, 1]),
      request(pvpanic, [0x14, 0]),
      request(pciTestdev, [0x15, 0]),
    ],
  },
  {
    name: "bridges behind bridges",
    hosts: ONE_HOST,
    devices: [
      request(pciBridge, [0x02, 0], { id: "outer" }),
      request(edu, [0x01, 0], { behind: "outer" }),
      request(pciBridge, [0x02, 0], { id: "inner", behind: "outer" }),
      request(probe, [0x03, 0], { behind: "inner" }),
      request(pcieRootPort, [0x1c, 0], { id: "port" }),
      request(msixProbe, [0x00, 0], { behind: "port", options: { vectors: 33, layout: "two" } }),
      request(pcieRootPort, [0x1c, 1], { id: "empty" }),
    ],
  },
  {
    name: "a chipset with its ECAM window",
    hosts: [
      { segment: 0, bus: 0, ecam: { base: 0xe000_0000, firstBus: 0, buses: 256, claim: "functions" } },
      { segment: 1, bus: 0x80, ecam: { base: 0x1_f000_0000, firstBus: 0, buses: 256, claim: "window" } },
    ],
    devices: [
      request(q35Host, [0, 0]),
      request(pcieRootPort, [0x1c, 0], { id: "port" }),
      request(counter, [0x00, 0], { behind: "port" }),
      request(probe, [0x03, 0], { segment: 1, bus: 0x80 }),
      request(msixProbe, [0x03, 1], { segment: 1, bus: 0x80, options: { vectors: 1 } }),
    ],
  },
  {
    name: "windows of a machine without ports",
    hosts: [
      {
        segment: 0,
        bus: 0,
        ecam: { base: 0x1000_0000, firstBus: 0, buses: 256, claim: "window" },
        aperture: { base: 0x3000_0000, size: 0x1_0000 },
      },
    ],
    devices: [
      request(pciSerial, [0x01, 0]),
      request(counter, [0x02, 0]),
      request(pciTestdev, [0x03, 0]),
      request(pciBridge, [0x04, 0], { id: "bridge" }),
      request(probe, [0x00, 0], { behind: "bridge" }),
    ],
  },
  {
    name: "a window that is translated",
    hosts: [
      {
        segment: 0,
        bus: 0,
        ecam: { base: 0xe000_0000, firstBus: 0, buses: 256, claim: "functions", delivery: "translated" },
      },
    ],
    devices: [request(q35Host, [0, 0]), request(edu, [0x03, 0]), request(pcieRootPort, [0x1c, 0], { id: "port" })],
  },
];

/** What can be put into a running machine. */
export const pluggable: readonly PciDevice[] = [
  counter,
  edu,
  msixProbe,
  pciSerial,
  pciTestdev,
  pvpanic,
  probe,
  pciBridge,
];
