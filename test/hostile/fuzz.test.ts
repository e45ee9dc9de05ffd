// SPDX-License-Identifier: MIT
/** The fuzzer (docs/fuzzing.md) over what it found before, and for a bounded time over what is new. */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { readCorpus } from "../../fuzz/corpus.js";

const PROGRAM = join(__dirname, "..", "..", "fuzz", "main.js");
const SECONDS = 20;
/** The last is another each time. */
const SEEDS = [1, 2, 3, Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 32))];

interface Report {
  readonly inputs: number;
  readonly failures: ReadonlyArray<{ readonly file: string; readonly message: string }>;
}

function fuzz(...args: string[]): Report {
  const { stdout, stderr, status, signal } = spawnSync(
    process.execPath,
    ["--max-old-space-size=512", PROGRAM, ...args],
    {
      encoding: "utf8",
    },
  );
  if (status === null || stdout === "") throw new Error(`the fuzzer ended by ${signal ?? status}: ${stderr}`);
  return JSON.parse(stdout) as Report;
}

test(`what the fuzzer found once is mended, and from the seeds ${SEEDS.join()} it finds nothing new`, () => {
  const seeds = SEEDS.flatMap((seed) => ["--seed", String(seed)]);
  const { inputs, failures } = fuzz("--seconds", String(SECONDS), ...seeds);
  expect(failures).toEqual([]);
  expect(inputs).toBeGreaterThan(readCorpus().length);
}, 300_000);
