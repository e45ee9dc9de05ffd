// SPDX-License-Identifier: MIT
/** Host bridges as a config file names them, with what it leaves out. */

import type { Aperture, EcamWindow, HostWindows } from "../pci/windows.js";
import type { Config } from "./config.js";

const ALL_BUSES = 256;
const ALL_PORTS = 0x1_0000;

/** One at 0000:00 without windows where nothing is said. `arm`: an access that nobody claims is a fault there. */
export function hostBridges(config: Config, arm = process.arch === "arm64"): HostWindows[] {
  return (config.hostBridges ?? [{}]).map(({ segment = 0, bus = 0, ecam, aperture }): HostWindows => {
    const windows: { ecam?: EcamWindow; aperture?: Aperture } = {};
    if (ecam !== undefined) {
      const { base, firstBus = 0, buses = ALL_BUSES - firstBus, delivery = "native" } = ecam;
      const { claim = arm ? "window" : "functions" } = ecam;
      windows.ecam = { base, firstBus, buses, claim, delivery };
    }
    if (aperture !== undefined) windows.aperture = { base: aperture.base, size: aperture.size ?? ALL_PORTS };
    return { segment, bus, ...windows };
  });
}
