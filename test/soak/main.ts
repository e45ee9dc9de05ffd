// SPDX-License-Identifier: MIT
/**
 * `npm run soak [-- --kills N --seed S --points "A,B"]`: exit code 1 when anything was lost.
 * `npm run soak -- --hours N [--faster N]`: exit code 1 when anything grew.
 */

import { parseArgs } from "node:util";
import type { FaultPoint } from "../takeover/fault-points.js";
import { day } from "./day/day.js";
import { reportDay } from "./day/report.js";
import { POINTS } from "./deaths.js";
import { report } from "./report.js";
import { type SoakOptions, soak } from "./soak.js";

const TOLD_EVERY = 50;

function options(): { hours?: number; faster: number; soak: SoakOptions } {
  const { values } = parseArgs({
    options: {
      hours: { type: "string" },
      faster: { type: "string", default: "240" },
      kills: { type: "string", default: "1000" },
      seed: { type: "string", default: String((Date.now() % 1_000_000) + 1) },
      points: { type: "string" },
    },
  });
  const points = values.points?.split(",").map((name): FaultPoint => {
    const found = POINTS.find((point) => point === name.trim());
    if (found !== undefined) return found;
    throw new Error(`there is no point "${name.trim()}"; there are: ${POINTS.join(", ")}`);
  });
  return {
    ...(values.hours === undefined ? {} : { hours: whole("hours", values.hours) }),
    faster: whole("faster", values.faster),
    soak: {
      kills: whole("kills", values.kills),
      seed: whole("seed", values.seed),
      ...(points === undefined ? {} : { points }),
    },
  };
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`--${name} is "${text}", a whole number was expected`);
}

async function liveThrough(hours: number, faster: number): Promise<number> {
  process.stdout.write(`Node.js ${process.versions.node}, ${hours} hours, ${faster} times as fast\n`);
  const result = await day({ hours, faster, onHour: (hour) => process.stderr.write(`hour ${hour}\n`) });
  process.stdout.write(reportDay(result));
  return result.problems.length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const { hours, faster, soak: wanted } = options();
  if (hours !== undefined) return liveThrough(hours, faster);
  const began = performance.now();
  process.stdout.write(`Node.js ${process.versions.node}, seed ${wanted.seed}\n`);
  const result = await soak({
    ...wanted,
    onKill: (kills) => {
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      if (kills % TOLD_EVERY === 0) process.stderr.write(`${kills} kills, ${seconds} s\n`);
    },
  });
  process.stdout.write(report(result));
  if (result.problems.length === 0) return 0;
  process.stdout.write(`again with: npm run soak -- --kills ${wanted.kills} --seed ${wanted.seed}\n`);
  return 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`soak: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
