// SPDX-License-Identifier: MIT
/** Runs the program itself, as its users do. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/base/place.js";
import { runSim, type SimOptions, type SimResult } from "../../src/sim/index.js";

export const PROGRAM = join(PACKAGE_ROOT, "bin", "ioreqd");

export interface Finished {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** `ioreqd ARGS`, to its end. No simulated host: what needs Xen fails. */
export function ioreqd(...args: string[]): Finished {
  const { XENSIM_SOCKET: _socket, IOREQD_DOMID: _domid, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { encoding: "utf8", env });
  return { status, stdout, stderr };
}

/** A directory of its own for a test, removed afterwards. */
export async function withDirectory<T>(act: (directory: string) => Promise<T> | T): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-test-"));
  try {
    return await act(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export interface Served {
  result: SimResult;
  /** What ioreqd wrote to its log, a line each. */
  log: Array<Record<string, unknown>>;
  output: string;
}

/** `ioreqd run ARGS` on a simulated host, serving a guest program given as source of a module. */
export function serve(guest: string, args: string[], options: Partial<SimOptions> = {}): Promise<Served> {
  return withDirectory(async (directory) => {
    const program = join(directory, "guest.js");
    writeFileSync(program, guest);
    let output = "";
    const result = await runSim({
      guest: program,
      command: [process.execPath, PROGRAM, "run", "--state-dir", join(directory, "state"), ...args],
      commandOutput: (text) => {
        output += text;
      },
      handleSignals: false,
      ...options,
    });
    const log = output
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    return { result, log, output };
  });
}

/** Source of a guest program: `body` runs on every vCPU, with the first function's BARs at these places. */
export const guestProgram = (body: string): string => `
  const MEMORY = 0xf0000000, PORTS = 0xc000;
  const must = (holds, what) => { if (!holds) throw new Error(what); };
  function place(vcpu, bdf = "00:10.0", at = MEMORY, ports = PORTS) {
    for (let bar = 0x10; bar < 0x28; bar += 4) {
      const kind = vcpu.configRead(bdf, bar, 4);
      vcpu.configWrite(bdf, bar, 4, (kind & 1) ? ports : at);
      if (kind & 1) ports += 0x100; else at += 0x1000000;
    }
    vcpu.configWrite(bdf, 4, 2, 7);
  }
  module.exports = (vcpu) => { ${body} };
`;
