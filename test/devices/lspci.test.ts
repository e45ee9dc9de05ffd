// SPDX-License-Identifier: MIT
/** An outside judge: each device's configuration space, read by the real lspci. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { devices } from "../../src/devices/index.js";
import type { PciDevice } from "../../src/pci/define.js";
import { testJudgedBy } from "../support/judges.js";
import { Machine } from "../support/machine.js";
import { compareWithGolden } from "./conversation.js";
import { conventional, express } from "./every-capability.js";

/**
 * What lspci says of a chain or a capability that it can't make sense of; `<?>` after what only a vendor knows is
 * none. Source: pciutils ls-caps.c, ls-ecaps.c.
 */
const COMPLAINTS =
  /<(chain looped|chain broken|access denied|unreadable|malformed)>|(?<!Vendor Specific Information:.*)<\?>|\?\?\?|unknown/i;

const hexDigits = (value: number, width: number): string => value.toString(16).padStart(width, "0");

/** As `lspci -xxxx` prints it, which `lspci -F` reads: all that there is, 256 bytes or 4096. */
function hexDump(machine: Machine): string {
  const rows = (machine.tree.functions[0]?.configSize ?? 0) / 16;
  const lines = Array.from({ length: rows }, (_, row) => {
    const bytes = Array.from({ length: 16 }, (_, i) => hexDigits(machine.configRead(0, row * 16 + i, 1), 2));
    return `${hexDigits(row * 16, rows > 16 ? 3 : 2)}: ${bytes.join(" ")}`;
  });
  return `00:10.0 device\n${lines.join("\n")}\n`;
}

function lspci(dump: string): string {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-lspci-"));
  try {
    const file = join(directory, "dump");
    writeFileSync(file, dump);
    const { stdout, stderr, status, error } = spawnSync("lspci", ["-F", file, "-n", "-vvv"], { encoding: "utf8" });
    if (error !== undefined) throw error;
    // What this host's kernel would load is no property of ours, nor that it has none.
    const complaints = stderr.split("\n").filter((line) => line !== "" && !line.includes("libkmod"));
    expect([status, complaints]).toEqual([0, []]);
    const lines = stdout.split("\n").filter((line) => !line.startsWith("\tKernel "));
    return `${lines.join("\n").trim()}\n`;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const judged: ReadonlyArray<readonly [string, PciDevice]> = [...devices, conventional, express].map((device) => [
  device.name,
  device,
]);

testJudgedBy("pciutils").each(judged)("lspci reads %s as we mean it", (name, device) => {
  const machine = new Machine([device]);
  machine.place();
  const read = lspci(hexDump(machine));
  expect(read).not.toMatch(COMPLAINTS);
  compareWithGolden(`${name}.lspci`, read);
  machine.end();
});
