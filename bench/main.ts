// SPDX-License-Identifier: MIT
/** `npm run bench [NAME…]`: each benchmark prints ratios or figures of one run, beside the number to hold. */

import { access } from "./access.js";
import { measureFfi } from "./ffi.js";
import { messages } from "./messages.js";
import { formatRow, type Row } from "./report.js";
import { roundTrip } from "./round-trip.js";
import { routing } from "./routing.js";
import { start } from "./start.js";
import { xen } from "./xen.js";

const BENCHMARKS: Readonly<Record<string, () => Promise<Row[]> | Row[]>> = {
  access,
  ffi,
  messages,
  routing,
  start,
  "round-trip": roundTrip,
};

/** The second adapter is there for those who asked for it; what it costs is told, not held against it. */
function ffi(): Row[] {
  const { adapters, publish } = measureFfi();
  const ns = (value: number | undefined): string => (value === undefined ? "not installed" : `${value.toFixed(0)} ns`);
  const napi = adapters["ffi-napi"]?.msi;
  const koffi = adapters.koffi?.msi ?? Number.POSITIVE_INFINITY;
  return [
    {
      what: "a call of inject_msi's shape through koffi",
      value: koffi,
      unit: " ns",
      hold: 1000,
      detail: `ffi-napi: ${ns(napi)}`,
    },
    {
      what: "IORESP_READY and notify in one call of the addon",
      value: publish,
      unit: " ns",
      hold: 1000,
      detail: "empty notify",
    },
  ];
}

/** Only when asked for by name: they need a machine of their own. */
const ON_REQUEST: typeof BENCHMARKS = { xen };

async function main(wanted: readonly string[]): Promise<void> {
  process.stdout.write(`Node.js ${process.versions.node}, ${process.arch}\n`);
  for (const [name, benchmark] of Object.entries({ ...BENCHMARKS, ...ON_REQUEST })) {
    if (wanted.length > 0 ? !wanted.includes(name) : name in ON_REQUEST) continue;
    process.stdout.write(`\n${name}\n`);
    for (const row of await benchmark()) process.stdout.write(`${formatRow(row)}\n`);
  }
}

void main(process.argv.slice(2));
