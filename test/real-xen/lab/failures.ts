// SPDX-License-Identifier: MIT
/** What failed in the last run of the suites: the reporter writes it down for whoever started them. */

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { LabFiles } from "./lab-files.js";

export interface FailedSuite {
  readonly file: string;
  readonly failures: readonly { readonly test: string; readonly why: string }[];
}

/** Lines of a message that are repeated at the end: what was expected and what came, without the stack. */
const LINES = 12;

export function failedSuites(files: LabFiles): FailedSuite[] {
  return existsSync(files.failed) ? (JSON.parse(readFileSync(files.failed, "utf8")) as FailedSuite[]) : [];
}

/** The last thing said: of a long log the end is what is looked at first. */
export function failureSummary(suites: readonly FailedSuite[]): string {
  return suites
    .flatMap(({ file, failures }) =>
      failures.map(({ test, why }) => {
        const lines = stripVTControlCharacters(why).split("\n");
        const shown = lines.filter((line) => line.trim() !== "" && !/^\s+at /.test(line)).slice(0, LINES);
        return [`FAIL ${path.basename(file, ".xen.js")}: ${test}`, ...shown.map((line) => `     ${line}`)].join("\n");
      }),
    )
    .join("\n");
}
