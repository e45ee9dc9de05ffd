// SPDX-License-Identifier: MIT
/**
 * `ioreqd dev`: a device that is worked on, under a guest that runs. Each time
 * a file of it is saved it is loaded anew and takes the place of what was
 * there, with what that knew; where it can't, that goes on.
 */

import { type FSWatcher, mkdtempSync, rmSync, watch } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { IoreqdError, messageOf } from "../base/errors.js";
import { FreshModule } from "../base/load-module.js";
import { parseDeviceSpec, resolveAs } from "../launch/device-spec.js";
import { namesDomain, type RunFlags } from "./gather.js";
import { run } from "./run.js";
import type { Session } from "./session.js";
import { sim } from "./sim.js";

export interface DevFlags extends RunFlags {
  guest?: string;
}

/** How long, in ms, a file must be left alone: an editor may write it in several steps. */
const SETTLE_MS = 20;

/** Resolves with the exit code. Throws what run() throws, MODULE_NOT_FOUND, MODULE_LOAD_FAILED. */
export async function dev(spec: string, flags: DevFlags): Promise<number> {
  const module = new FreshModule(parseDeviceSpec(spec, "dev").device);
  module.load();
  if (!namesDomain(flags)) return simulate(flags);
  return run({ ...flags, swaps: true, device: [spec, ...flags.device] }, (session) => swapOnSave(module, session));
}

/** The same command once more, under a simulated Xen, whose environment names the guest. */
async function simulate(flags: DevFlags): Promise<number> {
  const stateDir = mkdtempSync(join(tmpdir(), "ioreqd-dev-"));
  const words = [...process.argv.slice(1), ...(flags.stateDir === undefined ? ["--state-dir", stateDir] : [])];
  const guest = flags.guest === undefined ? {} : { guest: flags.guest };
  try {
    return await sim([process.execPath, ...words], { vcpus: 1, memory: 64, arch: "x86", ...guest });
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
}

/** Returns what ends it. */
function swapOnSave(module: FreshModule, session: Session): () => void {
  const name = basename(module.path);
  const watchers = new Map<string, FSWatcher>();
  let settling: NodeJS.Timeout | undefined;

  /** Directories, not files: editors save by renaming, and then a file is another one. */
  function watchAll(): void {
    for (const directory of [...module.files].map((file) => dirname(file))) {
      if (watchers.has(directory)) continue;
      const watcher = watch(directory, (_event, file) => {
        if (file !== null && !module.files.has(join(directory, file))) return;
        clearTimeout(settling);
        settling = setTimeout(saved, SETTLE_MS);
      });
      watchers.set(directory, watcher);
    }
  }

  function saved(): void {
    const began = performance.now();
    try {
      const labels = swap(module, session);
      const ms = (performance.now() - began).toFixed(1);
      const what = labels.length === 0 ? "the guest has no device of it" : `swapped in ${ms} ms: ${labels.join(", ")}`;
      say(process.stdout, `${name}: ${what}`);
    } catch (error) {
      const code = error instanceof IoreqdError ? `${error.code}: ` : "";
      const why = messageOf(error).replace(/\s+/g, " ");
      say(process.stderr, `${name}: not swapped, the old one goes on: ${code}${why}`);
    }
    // It may import others now; those that could not be loaded are watched, too.
    watchAll();
  }

  watchAll();
  return () => {
    clearTimeout(settling);
    for (const watcher of watchers.values()) watcher.close();
  };
}

/** Put it in the place of every function that was made of this module. Returns their names. */
function swap(module: FreshModule, { tree, hotplug }: Session): string[] {
  const loaded = module.load();
  const recipes = tree.functions.map((fn) => ({ fn, recipe: hotplug.recipe(fn) }));
  return recipes
    .filter(({ recipe }) => recipe.device === module.path)
    .map(({ fn, recipe }) => hotplug.replace(fn, resolveAs(recipe, loaded)).label);
}

const say = (stream: NodeJS.WriteStream, text: string): void => void stream.write(`${text}\n`);
