// SPDX-License-Identifier: MIT
/** Inputs that are kept: fuzz/corpus in the repository, a file each, named after what is in it. */

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../src/base/place.js";

export const CORPUS = join(PACKAGE_ROOT, "fuzz", "corpus");
/** What a run found is not part of the repository until somebody has mended it. */
export const FOUND = join(PACKAGE_ROOT, "build", "fuzz");

export interface Kept {
  readonly name: string;
  readonly input: Uint8Array;
}

export function readCorpus(directory = CORPUS): Kept[] {
  const names = existsSync(directory) ? readdirSync(directory).sort() : [];
  return names.map((name) => ({ name, input: new Uint8Array(readFileSync(join(directory, name))) }));
}

/** Returns the path. `kind`: "crash" or "cover". */
export function keep(directory: string, kind: string, input: Uint8Array): string {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `${kind}-${createHash("sha256").update(input).digest("hex").slice(0, 12)}`);
  writeFileSync(path, input);
  return path;
}

/** What covers most in least; what once failed stays. */
export function replaceCorpus(inputs: readonly Uint8Array[]): void {
  for (const { name } of readCorpus().filter((kept) => kept.name.startsWith("cover-"))) rmSync(join(CORPUS, name));
  for (const input of inputs) keep(CORPUS, "cover", input);
}
