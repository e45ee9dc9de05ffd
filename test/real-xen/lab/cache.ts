// SPDX-License-Identifier: MIT
/** Things that take long to build, kept by a digest of all that goes into them. */

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import path from "node:path";
import { cacheDirectory } from "./lab-files.js";

/** Kept of each kind, most recently used first. */
const KEPT = 4;

/** A digest of texts and of files (each with its name and content; of a directory: what is in it). */
export function digestOf(texts: readonly string[], files: readonly string[]): string {
  const hash = createHash("sha256");
  for (const text of texts) hash.update(`${text}\0`);
  for (const file of files.flatMap(filesBelow)) {
    hash
      .update(`${path.basename(file)}\0`)
      .update(readFileSync(file))
      .update("\0");
  }
  return hash.digest("hex").slice(0, 20);
}

function filesBelow(file: string): string[] {
  if (!statSync(file).isDirectory()) return [file];
  return readdirSync(file)
    .sort()
    .flatMap((name) => filesBelow(path.join(file, name)));
}

/**
 * The directory of this kind with this digest, built if it is not there. `build` fills an empty directory, which
 * gets its name only when it is complete, so that an interrupted or a second builder does no harm.
 */
export async function cached(kind: string, digest: string, build: (directory: string) => Promise<void>) {
  const cache = cacheDirectory();
  const directory = path.join(cache, `${kind}-${digest}`);
  if (!existsSync(directory)) {
    const unfinished = path.join(cache, `unfinished-${kind}-${process.pid}`);
    mkdirSync(unfinished, { recursive: true });
    try {
      await build(unfinished);
      if (!existsSync(directory)) renameSync(unfinished, directory);
    } finally {
      rmSync(unfinished, { recursive: true, force: true });
    }
  }
  const now = new Date();
  utimesSync(directory, now, now);
  removeOld(cache, kind);
  return directory;
}

/** The newest of a kind whatever its digest, or null: for a day without a network. */
export function newestCached(kind: string): string | null {
  return existsSync(cacheDirectory()) ? (ofKind(cacheDirectory(), kind)[0] ?? null) : null;
}

/** What a running lab has open stays usable for it. */
function removeOld(cache: string, kind: string): void {
  for (const old of ofKind(cache, kind).slice(KEPT)) rmSync(old, { recursive: true, force: true });
  for (const name of readdirSync(cache)) {
    const pid = /^unfinished-.*-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) {
      rmSync(path.join(cache, name), { recursive: true, force: true });
    }
  }
}

/** Directories of a kind, most recently used first. */
function ofKind(cache: string, kind: string): string[] {
  return readdirSync(cache)
    .filter((name) => name.startsWith(`${kind}-`))
    .map((name) => path.join(cache, name))
    .map((directory) => ({ directory, used: statSync(directory).mtimeMs }))
    .sort((a, b) => b.used - a.used)
    .map(({ directory }) => directory);
}
