// SPDX-License-Identifier: MIT
/** A guest without QEMU, through a real ioreqd: CF8, ECAM in both of its ways, and ports where the processor has none. */

import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runSim, type SimArch } from "../../src/sim/index.js";
import { PROGRAM, withDirectory } from "../support/ioreqd.js";

/** One process for each config; all of them serve the one guest. */
function run(arch: SimArch, guest: "pc" | "arm" | "shared", ...configs: object[]): Promise<void> {
  return withDirectory(async (directory) => {
    const [first, ...others] = configs.map((config, i) => {
      const file = join(directory, `guest${i}.conf`);
      writeFileSync(file, JSON.stringify(config));
      return [process.execPath, PROGRAM, "run", "--config", file, "--state-dir", join(directory, `state${i}`)];
    });
    const started: ChildProcess[] = [];
    const { problems, leftovers } = await runSim({
      guest: join(__dirname, "windows-guest.js"),
      guestArguments: [guest],
      vcpus: 1,
      arch,
      command: first as string[],
      commandOutput: () => {},
      handleSignals: false,
      onProgress: (event) => {
        if (event.type === "listening") {
          for (const [node, ...argv] of others) {
            const env = { ...process.env, ...event.environment };
            started.push(spawn(node as string, argv, { env, stdio: "ignore" }));
          }
        } else if (event.type === "guest-ended") {
          for (const child of started) child.kill("SIGTERM");
        }
      },
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

test("two processes share one ECAM window: each answers for its own functions, and nobody for the rest", () => {
  const hostBridges = [{ ecam: { base: "0xe0000000" } }];
  return run(
    "x86",
    "shared",
    { devices: ["edu,addr=12.0", "msix-probe,addr=13.1", "counter,addr=13.0"], hostBridges },
    { devices: ["pci-testdev,addr=14.0"], hostBridges },
  );
});

test("on Arm the whole window answers, and ports are reached through an aperture", () =>
  run("arm", "arm", {
    bufioreq: "off",
    devices: ["counter,addr=10.0"],
    hostBridges: [{ ecam: { base: "0x10000000", claim: "window" }, aperture: { base: "0x3eff0000" } }],
  }));
