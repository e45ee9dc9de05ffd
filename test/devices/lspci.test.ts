// SPDX-License-Identifier: MIT
/** An outside judge: each device's configuration space, read by the real lspci. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { devices } from "../../src/devices/index.js";
import { testJudgedBy } from "../support/judges.js";
import { Machine } from "../support/machine.js";
import { compareWithGolden } from "./conversation.js";

/** As `lspci -x` prints it, which `lspci -F` reads. */
function hexDump(machine: Machine): string {
  const lines = Array.from({ length: 16 }, (_, row) => {
    const bytes = Array.from({ length: 16 }, (_, i) =>
      machine
        .configRead(0, row * 16 + i, 1)
        .toString(16)
        .padStart(2, "0"),
    );
    return `${(row * 16).toString(16).padStart(2, "0")}: ${bytes.join(" ")}`;
  });
  return `00:10.0 device\n${lines.join("\n")}\n`;
}

function lspci(dump: string): string {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-lspci-"));
  try {
    const file = join(directory, "dump");
    writeFileSync(file, dump);
    const { stdout, status, error } = spawnSync("lspci", ["-F", file, "-n", "-vv"], { encoding: "utf8" });
    if (error !== undefined) throw error;
    expect(status).toBe(0);
    // What this host's kernel would load is no property of ours.
    const lines = stdout.split("\n").filter((line) => !line.startsWith("\tKernel "));
    return `${lines.join("\n").trim()}\n`;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

testJudgedBy("pciutils").each(devices.map((device) => [device.name, device] as const))(
  "lspci reads %s as we mean it",
  (name, device) => {
    const machine = new Machine([device]);
    machine.place();
    compareWithGolden(`${name}.lspci`, lspci(hexDump(machine)));
    machine.end();
  },
);
