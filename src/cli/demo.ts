// SPDX-License-Identifier: MIT
/**
 * `ioreqd demo`: this process is the simulated Xen with its guest; a second
 * one is ioreqd, attached through the libraries as it would be in dom0.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../base/place.js";
import type { FoundFunction } from "../sim/guests/pci.js";
import { type RoundTrips, runSim, type SimCounters, type SimEvent, type SimResult } from "../sim/index.js";
import { columns } from "./columns.js";
import { formatTree } from "./lspci.js";

export interface DemoFlags {
  once?: boolean;
  json?: boolean;
  vcpus: number;
}

/** The tree that is served: every device of the list, two of them functions of one slot. */
const DEVICES = [
  "edu,addr=00:10.0",
  "pci-serial,addr=00:11.0",
  "pci-testdev,addr=00:12.0",
  "pvpanic,addr=00:12.1",
  "counter,addr=00:13.0",
];

/** What `--json` prints. */
export interface DemoSummary {
  ok: boolean;
  steps: Array<{ atMs: number; text: string }>;
  problems: SimResult["problems"];
  tree: FoundFunction[];
  figures: { counters: SimCounters; roundTrips: RoundTrips; serverMs: number | null };
}

export async function demo(flags: DemoFlags): Promise<number> {
  // One summary object can only be told of a run that ends.
  const once = flags.once === true || flags.json === true;
  const screen = new Screen(flags.json === true ? null : process.stdout);
  const stateDir = mkdtempSync(join(tmpdir(), "ioreqd-demo-"));
  let output = "";
  try {
    const result = await runSim({
      vcpus: flags.vcpus,
      guest: "demo",
      guestArguments: once ? ["once"] : [],
      command: [
        process.execPath,
        join(PACKAGE_ROOT, "bin", "ioreqd"),
        "run",
        ...DEVICES.flatMap((device) => ["--device", device]),
        ...["--state-dir", stateDir, "--log-format", "pretty"],
      ],
      commandOutput: (text) => {
        output = (output + text).slice(-MOST_OUTPUT);
      },
      figuresMs: 500,
      onProgress: (event) => screen.show(event),
    });
    return conclude(result, screen, flags, once, output);
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
}

/** Kept of what ioreqd logs, to be shown if it fails. */
const MOST_OUTPUT = 4000;

function conclude(result: SimResult, screen: Screen, flags: DemoFlags, once: boolean, output: string): number {
  // Without --once the run has no end of its own: Ctrl-C is the good end, once everything was shown.
  const problems = result.problems.filter(({ code }) => once || code !== "INTERRUPTED");
  const ok = problems.length === 0 && screen.tree.length > 0;
  if (flags.json === true) {
    const { counters, roundTrips, times } = result;
    const summary: DemoSummary = {
      ok,
      steps: screen.steps,
      problems,
      tree: screen.tree,
      figures: { counters, roundTrips, serverMs: times.serverMs },
    };
    process.stdout.write(`${JSON.stringify(summary)}\n`);
    return ok ? 0 : 1;
  }
  screen.end();
  if (once) process.stdout.write(`\n${formatFigures(result.counters, result.roundTrips).join("\n")}\n`);
  for (const { message } of problems) process.stdout.write(`FAILED  ${message}\n`);
  if (!ok && output !== "") process.stdout.write(`\nioreqd said:\n${output}\n`);
  process.stdout.write(ok ? `\nall steps done\n` : `\nnot all steps were done\n`);
  return ok ? 0 : 1;
}

/** The terminal: steps as they come, the tree, and figures that are rewritten in place. */
class Screen {
  readonly steps: DemoSummary["steps"] = [];
  tree: FoundFunction[] = [];
  readonly #out: NodeJS.WriteStream | null;
  #figureLines = 0;

  constructor(out: NodeJS.WriteStream | null) {
    this.#out = out;
  }

  show(event: SimEvent): void {
    if (event.type === "listening") this.#line("xensim", "a simulated Xen with one paused guest");
    else if (event.type === "command-started")
      this.#line("ioreqd", `process ${event.pid}, ${DEVICES.length} functions`);
    else if (event.type === "server-enabled")
      this.#line("xensim", `ioreq server enabled after ${event.afterMs.toFixed(0)} ms; the guest runs`);
    else if (event.type === "step") this.#step(event);
    else if (event.type === "figures") this.#figures(event.counters, event.roundTrips);
    else if (event.type === "stopping") this.#line("demo", "ending: guest, ioreqd, simulated Xen");
  }

  /** What comes next stands below the figures. */
  end(): void {
    this.#figureLines = 0;
  }

  #step(event: Extract<SimEvent, { type: "step" | "log" }>): void {
    this.steps.push({ atMs: Math.round(event.atMs * 10) / 10, text: event.text });
    this.#line("guest", event.text);
    const tree = event.detail["tree"];
    if (!Array.isArray(tree)) return;
    this.tree = tree as FoundFunction[];
    this.#write(`\n${formatTree(this.tree)}\n\n`);
  }

  #line(who: string, text: string): void {
    this.#clearFigures();
    this.#write(`${who.padEnd(7)} ${text}\n`);
  }

  #figures(counters: SimCounters, roundTrips: RoundTrips): void {
    // A log file gets the figures once, at the end; a terminal sees them live.
    if (this.#out?.isTTY !== true) return;
    this.#clearFigures();
    const lines = ["", ...formatFigures(counters, roundTrips), "(Ctrl-C ends it)"];
    this.#figureLines = lines.length;
    this.#write(`${lines.join("\n")}\n`);
  }

  #clearFigures(): void {
    if (this.#figureLines > 0) this.#write(`\x1b[${this.#figureLines}A\x1b[J`);
    this.#figureLines = 0;
  }

  #write(text: string): void {
    this.#out?.write(text);
  }
}

function formatFigures(counters: SimCounters, roundTrips: RoundTrips): string[] {
  const us = (ns: number): string => (ns / 1000).toFixed(ns < 10_000 ? 1 : 0);
  const rows = Object.entries(roundTrips).map(([kind, { count, p50, p99 }]) => [kind, String(count), us(p50), us(p99)]);
  return [
    ...columns([["access", "count", "p50 us", "p99 us"], ...rows]).split("\n"),
    `requests ${counters.pciConfig} config, ${counters.copy} memory, ${counters.pio} port; interrupts ${counters.intxOps} line changes`,
  ];
}
