// SPDX-License-Identifier: MIT
/** A simulated host, a guest on it, and a device model that dies and is started again. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { inspectDomain } from "../../src/cli/inspect.js";
import { GuestRun } from "../../src/sim/guest-run.js";
import { SIM_DOMID, SimHost } from "../../src/sim/host.js";
import type { VcpuReport } from "../../src/sim/vcpu.js";
import { type Finished, PROGRAM } from "../support/ioreqd.js";

export type LogLine = Record<string, unknown>;

export interface Options {
  readonly vcpus?: number;
  /** For the guest program. */
  readonly words?: readonly string[];
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
  readonly #args: readonly string[];
  #process: ChildProcess | null = null;
  #heard: () => void = () => {};

  /** `program`: source of a guest's. `args`: of `ioreqd run`. */
  constructor(program: string, args: readonly string[], { vcpus = 2, words = [] }: Options = {}) {
    this.host = new SimHost({ socketPath: join(this.directory, "xensim"), vcpus });
    const file = join(this.directory, "guest.js");
    writeFileSync(file, program);
    this.#args = args;
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

  /** Start the device model; resolves with what its log says when it is ready. Rejects when it ends before. */
  async start(environment: NodeJS.ProcessEnv = {}): Promise<LogLine> {
    const child = spawn(
      process.execPath,
      [PROGRAM, "run", "--state-dir", this.path("state"), "--log-format", "json", "-v", ...this.#args],
      { env: { ...process.env, ...this.host.environment(), ...environment }, stdio: ["ignore", "ignore", "pipe"] },
    );
    this.#process = child;
    const from = this.log.length;
    return new Promise((resolve, reject) => {
      createInterface({ input: child.stderr as NodeJS.ReadableStream }).on("line", (line) => {
        if (!line.startsWith("{")) {
          this.stderr += `${line}\n`;
          return;
        }
        const entry = JSON.parse(line) as LogLine;
        this.log.push(entry);
        if (entry["msg"] === "ready") resolve(entry);
      });
      child.once("close", (code, signal) =>
        reject(new Error(`it ended (${code ?? signal}):\n${this.stderr}${JSON.stringify(this.log.slice(from))}`)),
      );
    });
  }

  /** End it, and wait until it has ended. Resolves with its exit code, or null when a signal ended it. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<number | null> {
    const child = this.#process as ChildProcess;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, "close");
    }
    return child.exitCode;
  }

  /** Resolves when it has ended by itself. */
  async ended(): Promise<void> {
    const child = this.#process as ChildProcess;
    if (child.exitCode === null && child.signalCode === null) await once(child, "close");
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

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  begin(): void {
    this.host.unpause();
    this.guest.begin();
  }

  /** Resolves when this vCPU, or any, has told this step. */
  step(text: string, count = 1): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.reports.filter((report) => report.text === text).length < count) return;
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
    if (this.#process !== null) await this.end();
    this.host.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export async function supervised(
  program: string,
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
