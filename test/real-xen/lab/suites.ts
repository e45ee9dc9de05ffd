// SPDX-License-Identifier: MIT
/** The suites, run by jest in processes of its own: one after the other in each lab, and the labs beside each other. */

import { spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { IoreqdError } from "../../../src/base/errors.js";
import type { Dom0 } from "./dom0.js";
import { type SuiteResult, suiteResults } from "./failures.js";
import { ROOT } from "./lab-files.js";
import { LAB_NAME, step } from "./progress.js";

const SUITES = path.join(ROOT, "dist/test/real-xen");
/** Runs of a suite, at most. */
const TRIES = 3;

/**
 * What one lab runs at a time, in this order. Suites of a line share a guest, which takes longer to boot than most of them to
 * run, and whose end the last of them may be. One that is not named here comes last.
 */
const ORDER = ["interrupts devices guest-suite bridges reload takeover", "hotplug migrate", "xl", "contract", "pvh"];

/**
 * The files of the suites whose path matches, in groups that are run in one lab each. Throws LAB_OPTION_INVALID when there
 * is none.
 */
export function suiteGroups(only = ""): string[][] {
  const pattern = matcher(only);
  const files = readdirSync(SUITES)
    .filter((name) => name.endsWith(".xen.js"))
    .map((name) => path.join(SUITES, name));
  const wanted = files.filter((file) => pattern.test(file));
  if (wanted.length === 0) throw new IoreqdError("LAB_OPTION_INVALID", `--only ${only}: no file of a suite matches`);
  const ordered = ORDER.map((line) => line.split(" ").map((name) => path.join(SUITES, `${name}.xen.js`)));
  const others = files.filter((file) => !ordered.flat().includes(file)).map((file) => [file]);
  return [...ordered, ...others]
    .map((group) => group.filter((file) => wanted.includes(file)))
    .filter(({ length }) => length > 0);
}

function matcher(only: string): RegExp {
  try {
    return new RegExp(only);
  } catch (error) {
    throw new IoreqdError("LAB_OPTION_INVALID", `--only ${only}: ${String(error)}`);
  }
}

/** Runs the groups, each in whichever lab is free first. Resolves with what came of them, by lab. */
export function runSuites(
  labs: readonly Dom0[],
  groups: readonly (readonly string[])[],
  signal: AbortSignal,
): Promise<SuiteResult[][]> {
  step(`running the suites${labs.length > 1 ? `, in ${labs.length} labs` : ""}`);
  const left = [...groups];
  return Promise.all(
    labs.map(async (dom0, at) => {
      const name = labs.length > 1 ? `lab ${at + 1}: ` : "";
      const results: SuiteResult[] = [];
      for (let group = left.shift(); group !== undefined; group = left.shift())
        results.push(...(await runGroup(dom0, name, group, signal)));
      return results;
    }),
  );
}

/**
 * QEMU's emulation of SVM now and then ends a guest with a triple fault, at any instruction: Xen's dump of it has the
 * registers of Xen itself. Suites that failed while that happened are run again; a fault that is ours comes each time.
 */
async function runGroup(
  dom0: Dom0,
  name: string,
  group: readonly string[],
  signal: AbortSignal,
): Promise<SuiteResult[]> {
  const results = new Map<string, SuiteResult>();
  let suites = group;
  for (let left = TRIES; ; left -= 1) {
    const before = tripleFaults(dom0);
    for (const result of await runJest(dom0, name, suites, signal)) results.set(result.file, result);
    suites = suites.filter((file) => results.get(file)?.failures.length !== 0);
    if (left === 1 || suites.length === 0 || tripleFaults(dom0) === before) return [...results.values()];
    const names = suites.map((file) => path.basename(file, ".xen.js"));
    step(`${name}a guest ended by a triple fault meanwhile: once more ${names.join(", ")}`);
    // The guest that suites share has been through what each of them does: they find it as booted, or not at all.
    await dom0.endGuests();
  }
}

/** Suites of one group in the order that they have here; jest by itself begins with what took longest, or failed. */
export function inOrder<T extends { readonly path: string }>(suites: readonly T[]): T[] {
  const names = ORDER.flatMap((line) => line.split(" "));
  const at = ({ path: file }: T): number => names.indexOf(path.basename(file, ".xen.js"));
  return [...suites].sort((a, b) => at(a) - at(b));
}

/** How often a guest has ended that way, by Xen's console. */
function tripleFaults(dom0: Dom0): number {
  return readFileSync(dom0.files.serial, "latin1").match(/d\d+v\d+ Triple fault/g)?.length ?? 0;
}

function runJest(dom0: Dom0, name: string, suites: readonly string[], signal: AbortSignal): Promise<SuiteResult[]> {
  rmSync(dom0.files.results, { force: true });
  const jest = path.join(ROOT, "node_modules/jest/bin/jest.js");
  const args = [jest, "--config", path.join(ROOT, "jest.real-xen.config.cjs"), "--runInBand", "--runTestsByPath"];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args, ...suites], {
      cwd: ROOT,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, IOREQD_LAB: dom0.files.directory, [LAB_NAME]: name },
      signal,
    });
    child.on("error", reject);
    child.on("exit", (status, killer) => {
      const results = suiteResults(dom0.files);
      const missing = suites.filter((file) => !results.some((result) => result.file === file));
      const why = `jest ended with ${killer ?? `status ${status}`} and told nothing of it`;
      resolve([...results, ...missing.map((file) => ({ file, passed: 0, failures: [{ test: "(all of it)", why }] }))]);
    });
  });
}
