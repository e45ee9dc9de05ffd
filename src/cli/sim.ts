// SPDX-License-Identifier: MIT
/** `ioreqd sim`: any ioreq server on a simulated host. */

import { formatSimResult, runSim, type SimArch, type SimEvent } from "../sim/index.js";

export interface SimFlags {
  vcpus: number;
  memory: number;
  guest?: string;
  arch: SimArch;
  json?: boolean;
}

/** Resolves with the exit code. What goes to standard output is the summary; all else goes to standard error. */
export async function sim(command: readonly string[], flags: SimFlags): Promise<number> {
  const result = await runSim({
    vcpus: flags.vcpus,
    memoryMib: flags.memory,
    arch: flags.arch,
    ...(flags.guest === undefined ? {} : { guest: flags.guest }),
    command,
    commandOutput: flags.json === true ? "stderr" : "inherit",
    onProgress: (event) => {
      const line = describe(event);
      if (line !== null) process.stderr.write(`${line}\n`);
    },
  });
  process.stdout.write(`${flags.json === true ? JSON.stringify(result) : formatSimResult(result)}\n`);
  return result.exitCode;
}

/** A line for a person, or null for what needs none. */
function describe(event: SimEvent): string | null {
  switch (event.type) {
    case "listening": {
      const words = Object.entries(event.environment).map(([key, value]) => `${key}=${value}`);
      return `xensim: domain 1 is paused; a device model finds it with ${words.join(" ")}`;
    }
    case "server-enabled":
      return `xensim: an ioreq server is enabled after ${event.afterMs.toFixed(0)} ms; the guest runs`;
    case "step":
    case "log":
      return `guest vcpu${event.vcpu}: ${event.text}`;
    case "stopping":
      return `xensim: ${event.why}, stopping`;
    default:
      return null;
  }
}
