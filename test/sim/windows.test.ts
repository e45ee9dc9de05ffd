// SPDX-License-Identifier: MIT
/** A guest without QEMU, through a real ioreqd: CF8, ECAM in both of its ways, and ports where the processor has none. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runSim, type SimArch } from "../../src/sim/index.js";
import { PROGRAM, withDirectory } from "../support/ioreqd.js";

function run(arch: SimArch, guest: "pc" | "arm", config: object): Promise<void> {
  return withDirectory(async (directory) => {
    const file = join(directory, "guest.conf");
    writeFileSync(file, JSON.stringify(config));
    const { problems, leftovers } = await runSim({
      guest: join(__dirname, "windows-guest.js"),
      guestArguments: [guest],
      vcpus: 1,
      arch,
      command: [process.execPath, PROGRAM, "run", "--config", file, "--state-dir", join(directory, "state")],
      commandOutput: () => {},
      handleSignals: false,
    });
    expect(problems).toEqual([]);
    expect(leftovers).toEqual({ servers: 0, clients: 0, mappedPages: 0 });
  });
}

test.each(["native", "translated"])("ECAM (%s) and CF8 with CFC reach the same configuration space", (delivery) =>
  run("x86", "pc", {
    devices: [
      "q35-host,addr=00.0",
      "pci-bridge,id=b,addr=10.0",
      "counter,bus=b,addr=03.0",
      "msix-probe,addr=11.0",
      "edu,addr=12.0",
    ],
    hostBridges: [{ ecam: { base: "0xe0000000", delivery } }],
  }),
);

test("on Arm the whole window answers, and ports are reached through an aperture", () =>
  run("arm", "arm", {
    bufioreq: "off",
    devices: ["counter,addr=10.0"],
    hostBridges: [{ ecam: { base: "0x10000000", claim: "window" }, aperture: { base: "0x3eff0000" } }],
  }));
