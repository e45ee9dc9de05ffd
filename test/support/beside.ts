// SPDX-License-Identifier: MIT
/** Several processes of ours that serve one guest, each with a state directory of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { GuestRun } from "../../src/sim/guest-run.js";
import { type SimArch, SimHost } from "../../src/sim/host.js";
import { PROGRAM, withDirectory } from "./ioreqd.js";

/** One `ioreqd run`. */
export class Server {
  readonly stateDir: string;
  /** What it wrote to standard error. */
  said = "";
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | NodeJS.Signals>;
  readonly #ready: Promise<boolean>;

  constructor(stateDir: string, environment: NodeJS.ProcessEnv, args: readonly string[]) {
    this.stateDir = stateDir;
    const argv = [PROGRAM, "run", "--state-dir", stateDir, "--log-format", "json", ...args];
    const child = spawn(process.execPath, argv, { env: environment, stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    this.#ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
    this.#ready = new Promise((resolve) => {
      createInterface({ input: child.stderr }).on("line", (line) => {
        this.said += `${line}\n`;
        if (line.includes('"msg":"ready"')) resolve(true);
      });
      void this.#ended.then(() => resolve(false));
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** It serves. Rejects with what it said where it ended before. */
  async ready(): Promise<this> {
    if (await this.#ready) return this;
    throw new Error(`it ended with ${await this.#ended}: ${this.said}`);
  }

  /** Resolves when it has ended by itself, with its exit code or the signal. */
  ended(): Promise<number | NodeJS.Signals> {
    return this.#ended;
  }

  end(signal: NodeJS.Signals = "SIGTERM"): Promise<number | NodeJS.Signals> {
    this.#child.kill(signal);
    return this.#ended;
  }
}

export class Beside {
  readonly host: SimHost;
  readonly guest: GuestRun;
  readonly #directory: string;
  readonly #servers: Server[] = [];
  readonly #steps: string[] = [];
  #heard: () => void = () => {};

  /** `program`: a guest program, and words for it. */
  constructor(directory: string, [program, ...words]: readonly [string, ...string[]], arch: SimArch) {
    this.#directory = directory;
    this.host = new SimHost({ socketPath: join(directory, "xensim"), vcpus: 2, arch });
    this.guest = new GuestRun(this.host, {
      program,
      arguments: words,
      onReport: ({ text }) => {
        this.#steps.push(text);
        this.#heard();
      },
    });
  }

  get environment(): NodeJS.ProcessEnv {
    return { ...process.env, ...this.host.environment() };
  }

  /** Another process for the guest; `name`: of its state directory. */
  serve(name: string, ...args: string[]): Server {
    const server = new Server(join(this.#directory, name), this.environment, args);
    this.#servers.push(server);
    return server;
  }

  begin(): void {
    this.host.unpause();
    this.guest.begin();
  }

  /** Resolves when the guest has told this step, or has ended. */
  async step(text: string): Promise<void> {
    const told = new Promise<void>((resolve) => {
      this.#heard = () => this.#steps.includes(text) && resolve();
      this.#heard();
    });
    await Promise.race([told, this.guest.done]);
  }

  async close(): Promise<void> {
    await this.guest.stop();
    await Promise.all(this.#servers.map((server) => server.end("SIGKILL")));
    this.host.close();
  }
}

/** A paused guest that nobody serves yet, with its program loaded; and everything gone afterwards. */
export function beside(
  program: readonly [string, ...string[]],
  act: (all: Beside, path: (name: string) => string) => Promise<void>,
  arch: SimArch = "x86",
): Promise<void> {
  return withDirectory(async (directory) => {
    const all = new Beside(directory, program, arch);
    try {
      await all.guest.loaded;
      await act(all, (name) => join(directory, name));
    } finally {
      await all.close();
    }
  });
}
