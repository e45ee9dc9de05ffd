// SPDX-License-Identifier: MIT
/** A simulated host, a guest on it, and a device model that dies and is started again. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { inspectDomain } from "../../src/cli/inspect.js";
import type { VcpuReport } from "../../src/sim/cpu.js";
import { GuestRun } from "../../src/sim/guest-run.js";
import { SIM_DOMID, SimHost } from "../../src/sim/host.js";
import { type Finished, PROGRAM } from "../support/ioreqd.js";

export type LogLine = Record<string, unknown>;

/** Source of a guest program, or where it is. */
export type Program = string | { readonly file: string };

export interface Options {
  readonly vcpus?: number;
  /** For the guest program. */
  readonly words?: readonly string[];
  /** Of ioreqd, that serves: "run" unless told. */
  readonly command?: string;
  /** Whether the device model logs state changes. */
  readonly verbose?: boolean;
  /** Further arguments of `ioreqd run`, that name files in the directory. */
  readonly moreArguments?: (directory: string) => readonly string[];
}

/** One process that serves the guest. */
export interface Launched {
  readonly pid: number;
  /** When it was started, and when it said that it was ready: performance.now() of this process. */
  readonly spawnedAt: number;
  readyAt: number | null;
  /** What its log says when it is ready; null when it has ended before. */
  readonly ready: Promise<LogLine | null>;
  /** What ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
}

export class Supervised {
  readonly directory = mkdtempSync(join(tmpdir(), "ioreqd-supervised-"));
  readonly host: SimHost;
  readonly guest: GuestRun;
  readonly reports: VcpuReport[] = [];
  /** Of every process there was. */
  readonly log: LogLine[] = [];
  /** What no log line was. */
  stderr = "";
  /** Lines of its standard output, and of standard error what no log line was. */
  readonly printed: string[] = [];
  readonly #command: string;
  readonly #args: readonly string[];
  readonly #verbose: boolean;
  #process: ChildProcess | null = null;
  #launched: Launched | null = null;
  #heard: () => void = () => {};

  /** `args`: of `ioreqd run`. */
  constructor(program: Program, args: readonly string[], options: Options = {}) {
    const { vcpus = 2, words = [], command = "run", verbose = true, moreArguments = () => [] } = options;
    this.host = new SimHost({ socketPath: join(this.directory, "xensim"), vcpus });
    const file = typeof program === "string" ? join(this.directory, "guest.js") : program.file;
    if (typeof program === "string") writeFileSync(file, program);
    this.#command = command;
    this.#args = [...args, ...moreArguments(this.directory)];
    this.#verbose = verbose;
    this.guest = new GuestRun(this.host, {
      program: file,
      arguments: words,
      onReport: (report) => {
        this.reports.push(report);
        this.#heard();
      },
    });
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Start the device model, and don't wait for anything. */
  launch(environment: NodeJS.ProcessEnv = {}): Launched {
    const flags = ["--state-dir", this.path("state"), "--log-format", "json", ...(this.#verbose ? ["-v"] : [])];
    const spawnedAt = performance.now();
    const child = spawn(process.execPath, [PROGRAM, this.#command, ...flags, ...this.#args], {
      env: { ...process.env, ...this.host.environment(), ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
      child.once("close", (code, signal) => resolve(code ?? signal));
    });
    const print = (line: string): void => {
      this.printed.push(line);
      this.#heard();
    };
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", print);
    const ready = new Promise<LogLine | null>((resolve) => {
      createInterface({ input: child.stderr as NodeJS.ReadableStream }).on("line", (line) => {
        if (!line.startsWith("{")) {
          this.stderr += `${line}\n`;
          print(line);
          return;
        }
        const entry = JSON.parse(line) as LogLine;
        this.log.push(entry);
        if (entry["msg"] !== "ready") return;
        launched.readyAt = performance.now();
        resolve(entry);
      });
      void ended.then(() => resolve(null));
    });
    const launched: Launched = { pid: child.pid ?? 0, spawnedAt, readyAt: null, ready, ended };
    this.#launched = launched;
    return launched;
  }

  /** Start the device model; resolves with what its log says when it is ready. Rejects when it ends before. */
  async start(environment: NodeJS.ProcessEnv = {}): Promise<LogLine> {
    const from = this.log.length;
    const { ready, ended } = this.launch(environment);
    const entry = await ready;
    if (entry !== null) return entry;
    throw new Error(`it ended (${await ended}):\n${this.stderr}${JSON.stringify(this.log.slice(from))}`);
  }

  /** End it, and wait until it has ended. Resolves with its exit code, or null when a signal ended it. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<number | null> {
    const child = this.#process as ChildProcess;
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await this.ended();
    return child.exitCode;
  }

  /** Resolves when it has ended by itself, with its exit code or the signal. */
  ended(): Promise<number | NodeJS.Signals | null> {
    return (this.#launched as Launched).ended;
  }

  /** Resolves once a vCPU waits for a late answer. */
  async deferred(): Promise<void> {
    while (inspectDomain(this.path("state"), SIM_DOMID).requests.every(({ phase }) => phase !== "deferred")) {
      await setTimeout(1); // it is in memory that another process writes: there is no event to wait for
    }
  }

  /** Another command of the program, to its end, on this host. */
  ioreqd(...args: string[]): Finished {
    const env = { ...process.env, ...this.host.environment() };
    const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { encoding: "utf8", env });
    return { status, stdout, stderr };
  }

  /** The same, while this process goes on: for commands that the guest must not have to wait for. */
  async ioreqdLater(...args: string[]): Promise<Finished> {
    const child = spawn(process.execPath, [PROGRAM, ...args], { env: { ...process.env, ...this.host.environment() } });
    const finished: Finished = { status: null, stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream].on("data", (text) => {
        finished[stream] += String(text);
      });
    }
    const [status] = (await once(child, "close")) as [number | null];
    return { ...finished, status };
  }

  /** The process that the state file names: another than the one that was started, once that was reloaded. */
  serving(): number {
    return inspectDomain(this.path("state"), SIM_DOMID).pid;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  begin(): void {
    this.host.unpause();
    this.guest.begin();
  }

  /** Resolves when this vCPU, or any, has told this step. */
  step(text: string, count = 1): Promise<void> {
    return this.#until(() => this.reports.filter((report) => report.text === text).length >= count);
  }

  /** Resolves when it has printed so many lines like this. */
  prints(pattern: RegExp, count = 1): Promise<void> {
    return this.#until(() => this.printed.filter((line) => pattern.test(line)).length >= count);
  }

  #until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!holds()) return;
        this.#heard = () => {};
        resolve();
      };
      this.#heard = look;
      look();
    });
  }

  /** Lines of the log with this message. */
  said(message: string): LogLine[] {
    return this.log.filter(({ msg }) => msg === message);
  }

  async close(): Promise<void> {
    await this.guest.stop();
    // Those that went on after a reload: whoever started them may not live to end them.
    for (const { successor } of this.said("another process goes on")) killIfThere(Number(successor));
    if (this.#process !== null) await this.end();
    this.host.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** As an editor does: write beside it, and rename. */
export function save(path: string, source: string): void {
  writeFileSync(`${path}.new`, source);
  renameSync(`${path}.new`, path);
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

export async function supervised(
  program: Program,
  args: readonly string[],
  act: (supervised: Supervised) => Promise<void>,
  options: Options = {},
): Promise<void> {
  const all = new Supervised(program, args, options);
  try {
    await all.guest.loaded;
    await act(all);
  } finally {
    await all.close();
  }
}
