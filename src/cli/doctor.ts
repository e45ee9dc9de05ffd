// SPDX-License-Identifier: MIT
/** `ioreqd doctor`: what this host has and lacks to run ioreqd, each lack with its fix. */

import { probeHost } from "../xen/probe.js";

/** Prints the findings. Resolves with 0 when guests can be served here, else 1. */
export async function doctor(): Promise<number> {
  const checks = await probeHost();
  for (const { name, ok, needed, detail, fix } of checks) {
    process.stdout.write(`${ok ? "ok  " : needed ? "LACK" : "note"}  ${name}: ${detail}\n`);
    if (!ok && fix !== "") process.stdout.write(`      ${fix}\n`);
  }
  const lacking = checks.filter(({ ok, needed }) => needed && !ok).length;
  const verdict =
    lacking === 0
      ? "guests can be served here"
      : "no guest can be served here; ioreqd demo and ioreqd sim work without Xen";
  process.stdout.write(`\n${verdict}\n`);
  return lacking === 0 ? 0 : 1;
}
