// SPDX-License-Identifier: MIT
/** What came of the suites: the reporter writes it down for whoever started them. */

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { LabFiles } from "./lab-files.js";

export interface SuiteResult {
  readonly file: string;
  /** Tests. */
  readonly passed: number;
  readonly failures: readonly { readonly test: string; readonly why: string }[];
}

/** Lines of a message that are repeated at the end: what was expected and what came, without the stack. */
const LINES = 12;

/** Of the last run of jest in this lab. */
export function suiteResults(files: LabFiles): SuiteResult[] {
  return existsSync(files.results) ? (JSON.parse(readFileSync(files.results, "utf8")) as SuiteResult[]) : [];
}

/** The last thing said: of a long log the end is what is looked at first. */
export function failureSummary(suites: readonly SuiteResult[]): string {
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
