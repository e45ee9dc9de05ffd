// SPDX-License-Identifier: MIT
/**
 * npm run fuzz [-- --seconds N] [--seed S]... [--case FILE]... [--replay] [--keep]: see docs/fuzzing.md.
 * Prints one JSON object at the end; the exit status is 1 when something failed.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { VirtualClock } from "./clock.js";
import { FOUND, keep, readCorpus, replaceCorpus } from "./corpus.js";
import { Coverage } from "./coverage.js";
import { Fuzzer } from "./fuzzer.js";
import { Random } from "./random.js";
import { Watchdog } from "./watchdog.js";

const SECONDS = 20;
const PROGRESS_S = 30;

const { values } = parseArgs({
  options: {
    seconds: { type: "string" },
    seed: { type: "string", multiple: true },
    case: { type: "string", multiple: true },
    replay: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});

function main(): number {
  const seeds = values.seed?.map(Number) ?? [Math.floor(Math.random() * 2 ** 32)];
  const say = (text: string): boolean => process.stderr.write(`fuzz: ${text}\n`);
  const watchdog = new Watchdog(join(FOUND, "hang"));
  const coverage = new Coverage();
  coverage.start();
  const clock = new VirtualClock();
  clock.install();
  const fuzzer = new Fuzzer({ clock, coverage, watchdog });
  const cases = values.case?.map((path) => new Uint8Array(readFileSync(path)));
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  fuzzer.seed(cases ?? readCorpus().map(({ input }) => input));
  const all = Number(values.seconds ?? SECONDS);
  for (const seed of cases === undefined && !values.replay ? seeds : []) {
    const end = seconds() + all / seeds.length;
    const random = new Random(seed);
    say(`seed ${seed}, ${fuzzer.pool.length} inputs to start from`);
    for (let told = seconds() + PROGRESS_S; seconds() < end; ) {
      fuzzer.round(random);
      if (seconds() < told) continue;
      told += PROGRESS_S;
      const { inputs, failures } = fuzzer;
      say(`${Math.round(seconds())} s: ${inputs} inputs, ${coverage.seen.size} blocks, ${failures.size} failures`);
    }
  }
  const perSecond = Math.round(fuzzer.inputs / seconds());
  const failures = [...fuzzer.failures.values()].map(({ input, message }) => {
    return { file: keep(FOUND, "crash", input), message };
  });
  for (const { file, message } of failures) say(`${file}: ${message}`);
  const { inputs, steps } = fuzzer;
  const report = { seeds, inputs, perSecond, steps, blocks: coverage.seen.size, lines: coverage.lines(), failures };
  process.stdout.write(`${JSON.stringify(report)}\n`);
  if (values.keep) replaceCorpus(fuzzer.distil());
  return failures.length === 0 ? 0 : 1;
}

process.exitCode = main();
process.exit();
