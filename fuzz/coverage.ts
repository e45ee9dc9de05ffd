// SPDX-License-Identifier: MIT
/**
 * Which blocks of the program have run, from V8's own counters. Taking them costs milliseconds, so they are taken after
 * many inputs; and when something new is among them, the inputs are run again in halves to find which it was.
 */

import { readFileSync } from "node:fs";
import { Session } from "node:inspector";
import { sep } from "node:path";
import { fileURLToPath } from "node:url";

const [NO_CODE, NOT_RUN, RAN] = [0, 1, 2];

interface Range {
  startOffset: number;
  endOffset: number;
  count: number;
}
interface Script {
  url: string;
  functions: Array<{ ranges: Range[] }>;
}

/** Lines of the compiled program, covered and in all. */
export interface Lines {
  readonly part: string;
  readonly covered: number;
  readonly all: number;
}

/** What counts: the parts that a guest reaches. */
const PARTS = ["bus", "pci", "ioreq", "devices", "state"] as const;
const within = (url: string, part: string): boolean => url.includes(`${sep}src${sep}${part}${sep}`);

export class Coverage {
  readonly #session = new Session();
  /** Every block that has run: script, start and end. */
  readonly seen = new Set<string>();
  readonly #lines = new Map<string, Uint8Array>();

  start(): void {
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** How many blocks have run since the last call that had not run before. With `learn` they have, from now on. */
  take(learn = true): number {
    const found: string[] = [];
    for (const script of this.#scripts()) {
      const before = found.length;
      for (const { ranges } of script.functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          const block = `${script.url}:${startOffset}:${endOffset}`;
          if (count > 0 && !this.seen.has(block)) found.push(block);
        }
      }
      if (learn && found.length > before) this.#addLines(script);
    }
    if (learn) for (const block of found) this.seen.add(block);
    return found.length;
  }

  /** By part of the program. */
  lines(): Lines[] {
    return PARTS.map((part) => {
      const files = [...this.#lines].filter(([url]) => within(url, part)).map(([, lines]) => lines);
      const count = (wanted: number): number =>
        files.reduce((sum, lines) => sum + lines.filter((one) => one === wanted).length, 0);
      return { part, covered: count(RAN), all: count(RAN) + count(NOT_RUN) };
    });
  }

  /** A line has run when none of it lies in a block that has not. */
  #addLines({ url, functions }: Script): void {
    const text = readFileSync(url.startsWith("file:") ? fileURLToPath(url) : url, "utf8");
    const ran = new Uint8Array(text.length).fill(1);
    for (const { ranges } of functions) {
      for (const { startOffset, endOffset, count } of ranges) ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
    }
    let at = 0;
    const lines = text.split("\n").map((line) => {
      const [start, end] = [at + line.length - line.trimStart().length, at + line.trimEnd().length];
      at += line.length + 1;
      if (start >= end || /^\s*(\/?\*|\/\/|[{}()[\];,]*$)/.test(line)) return NO_CODE;
      return ran.subarray(start, end).every((one) => one === 1) ? RAN : NOT_RUN;
    });
    const before = this.#lines.get(url);
    this.#lines.set(
      url,
      Uint8Array.from(lines, (one, line) => (before?.[line] === RAN ? RAN : one)),
    );
  }

  stop(): void {
    this.#session.post("Profiler.stopPreciseCoverage");
    this.#session.disconnect();
  }

  #scripts(): Script[] {
    let result: Script[] = [];
    // A session in the same process answers before post() returns.
    this.#session.post("Profiler.takePreciseCoverage", (_error, answer) => {
      result = (answer?.result ?? []) as Script[];
    });
    return result.filter(({ url }) => PARTS.some((part) => within(url, part)));
  }
}
