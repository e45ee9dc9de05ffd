// SPDX-License-Identifier: MIT
/** The program as the package has it, one file and its loader: what V8 compiled of it is kept for the next process. */

import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { PACKAGE_ROOT } from "../../src/base/place.js";

/** A tree like that of the package, with a cache of its own. */
let tree: string;
let cache: string;

beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), "ioreqd-loader-"));
  const { bundle } = require(join(PACKAGE_ROOT, "scripts/package/bundle.cjs")) as {
    bundle(code: string, to: string, target: string): void;
  };
  bundle(join(PACKAGE_ROOT, "dist/src"), join(tree, "dist/src"), "node20");
  mkdirSync(join(tree, "bin"));
  copyFileSync(join(PACKAGE_ROOT, "bin/ioreqd"), join(tree, "bin/ioreqd"));
  for (const name of ["package.json", "node_modules", "native"])
    symlinkSync(join(PACKAGE_ROOT, name), join(tree, name));
});
beforeEach(() => {
  cache = join(tree, "cache");
  rmSync(cache, { recursive: true, force: true });
});
afterAll(() => rmSync(tree, { recursive: true, force: true }));

function ioreqd(...args: string[]): string {
  const { NODE_DISABLE_COMPILE_CACHE: _disabled, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(tree, "bin/ioreqd"), ...args], {
    env: { ...env, NODE_COMPILE_CACHE: cache },
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`status ${status}: ${stderr}`);
  return stdout;
}

/** Of ours: Node.js 22 has files and a directory of its own there. */
const kept = (): string[] =>
  (existsSync(cache) ? (readdirSync(cache, { recursive: true }) as string[]) : [])
    .filter((name) => /(^|\/)[a-z]+-\d+-[\d.]+$/.test(name))
    .sort();
const place = (name: string): string => join(cache, name);
const EXPLAIN = ["explain", "edu"];

/** With a sum that fits. */
function ofAnotherEngine(whole: Buffer): Buffer {
  const end = whole.length - 4;
  whole.writeUInt32LE(crc32(whole.subarray(0, end).fill(0x55, 0, 8)), end);
  return whole;
}

test("each command keeps its part for its next process, which does not write it again", () => {
  const first = ioreqd(...EXPLAIN);
  const [name = "", ...none] = kept();
  expect([name, none]).toEqual([expect.stringMatching(/(^|\/)explain-\d+-/), []]);
  expect(statSync(place(name)).mode & 0o777).toBe(0o600);
  utimesSync(place(name), 1, 1);
  expect(ioreqd(...EXPLAIN)).toBe(first);
  expect(statSync(place(name)).mtimeMs).toBe(1000);
  ioreqd("completion", "bash");
  expect(kept()).toEqual([expect.stringMatching(/(^|\/)completion-\d+-/), name]);
});

test("of a program that has changed it keeps another, and the one before goes", () => {
  ioreqd(...EXPLAIN);
  const before = kept();
  utimesSync(join(tree, "dist/src/cli/program.js"), 1, 1);
  ioreqd(...EXPLAIN);
  expect(kept()).toHaveLength(1);
  expect(kept()).not.toEqual(before);
});

test.each<[string, (whole: Buffer) => Buffer]>([
  ["cut off", (whole) => whole.subarray(0, whole.length / 2)],
  ["empty", () => Buffer.alloc(0)],
  // V8 itself would take it.
  [
    "off by a bit",
    (whole) => whole.fill((whole[whole.length >> 1] as number) ^ 1, whole.length >> 1, (whole.length >> 1) + 1),
  ],
  ["of another engine", ofAnotherEngine],
])("what is %s does no harm, and is replaced", (_what, damaged) => {
  const said = ioreqd(...EXPLAIN);
  const [name = ""] = kept();
  const { size } = statSync(place(name));
  writeFileSync(place(name), damaged(readFileSync(place(name))));
  const harmed = readFileSync(place(name));
  expect(ioreqd(...EXPLAIN)).toBe(said);
  expect(readFileSync(place(name)).equals(harmed)).toBe(false);
  expect(statSync(place(name)).size).toBeGreaterThan(size * 0.9);
});

test("where nothing can be kept it works as well", () => {
  writeFileSync(join(tree, "a-file"), "");
  cache = join(tree, "a-file");
  expect(ioreqd(...EXPLAIN)).toContain("edu");
});

test("what is no command keeps nothing", () => {
  ioreqd("--version");
  expect(kept()).toEqual([]);
});
