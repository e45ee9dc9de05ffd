// SPDX-License-Identifier: MIT
/** The last that was heard: what a failure shows, and what is kept of a lab that has ended. */

import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import type { LabFiles } from "./lab-files.js";

const LINES = 15;

/** The ends of the Xen console, of dom0's journal, and of each guest's console. */
export function evidence(files: LabFiles): string {
  const consoles = existsSync(files.consoles) ? readdirSync(files.consoles) : [];
  return [
    section("Xen console", files.serial),
    section("dom0's journal", files.journal),
    ...consoles.map((name) => section(name, path.join(files.consoles, name))),
  ].join("\n");
}

function section(title: string, file: string): string {
  return `--- ${title}, last lines:\n${tail(file, LINES)}`;
}

/** The last lines of a text file, or a remark. */
export function tail(file: string, lines: number): string {
  if (!existsSync(file)) return "(nothing yet)";
  return readFileSync(file, "utf8").replaceAll("\r", "").trimEnd().split("\n").slice(-lines).join("\n");
}

/** Replaces what is in `target` by the logs of this lab. */
export function collectLogs(files: LabFiles, target: string): void {
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  if (existsSync(files.log)) cpSync(files.log, target, { recursive: true });
}
