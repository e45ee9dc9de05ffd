// SPDX-License-Identifier: MIT
/**
 * A guest's life with a device model, from start-up to teardown, on a host with a xenstored, where one step comes to grief
 * (steps.ts); and what is left of it.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { FAULT } from "../../src/cli/ending.js";
import { GuestRun } from "../../src/sim/guest-run.js";
import { SIM_DOMID, SimHost } from "../../src/sim/host.js";
import { SimXenstored } from "../../src/sim/xenstored.js";
import { PROGRAM } from "../support/ioreqd.js";
import { processesOf } from "../support/processes.js";
import { devices, GO_ON, GUEST } from "./walking-guest.js";

/** Of the environment: what steps.ts does, and the file that says that the domain is destroyed. */
export const STEP = "IOREQD_STEP";
export const DONE_FILE = "IOREQD_STEP_DONE";
/** Of the environment: in which command; those that it starts have the same environment. */
export const OF_COMMAND = "IOREQD_STEP_OF";
/** What lines of steps.ts begin with. */
export const REACHED = "step ";

/**
 * `serve`: from start-up to teardown after SIGTERM. `take over`: the same of a process that goes on where another was
 * killed. `abandon`: of `ioreqd abandon`, after such an end. `attach`: of `ioreqd attach`, which starts a process in the
 * background.
 */
export type Way = "serve" | "take over" | "abandon" | "attach";

export interface Walked {
  /** Number and name of each step that the process told. */
  readonly steps: readonly string[];
  readonly exit: number | NodeJS.Signals | null;
  /** How the process ended that was started after one that left the guest waiting; null where none was. */
  readonly next: number | NodeJS.Signals | null;
  /** From the step that came to grief to the end of the process; null where none did. */
  readonly endedAfterMs: number | null;
  /** What it wrote to standard error, without the steps. */
  readonly said: string;
  /** What is left behind, in words. */
  readonly left: readonly string[];
  /** Whether the guest's program came to its end. */
  readonly served: boolean;
}

/** A process that has not ended by then does not. */
const PATIENCE_MS = 60_000;
/** Xen hears of a process's end a moment after we do. */
const SETTLE_MS = 10_000;

type Command = "run" | "abandon" | "attach";
const COMMANDS: Readonly<Record<Way, Command>> = {
  serve: "run",
  "take over": "run",
  abandon: "abandon",
  attach: "attach",
};

class Walk {
  readonly #directory: string;
  readonly #host: SimHost;
  readonly #way: Way;
  readonly #guest: GuestRun;
  readonly #store: SimXenstored;
  readonly #steps: string[] = [];
  #process: ChildProcess | null = null;
  #said = "";
  #hasBegun = false;
  #reachedAt: number | null = null;
  #begun: () => void = () => {};

  static async make(way: Way): Promise<Walk> {
    const directory = mkdtempSync(join(tmpdir(), "ioreqd-walk-"));
    return new Walk(way, directory, await SimXenstored.listen(join(directory, "xenstored")));
  }

  private constructor(way: Way, directory: string, store: SimXenstored) {
    this.#way = way;
    this.#directory = directory;
    this.#store = store;
    store.introduce(SIM_DOMID, "guest");
    this.#host = new SimHost({ socketPath: join(directory, "xensim") });
    const settings = { supervisor: "none", stateDir: join(directory, "state"), logDir: join(directory, "log") };
    writeFileSync(join(directory, "ioreqd.conf"), JSON.stringify(settings));
    const program = join(directory, "guest.js");
    writeFileSync(program, GUEST);
    this.#guest = new GuestRun(this.#host, {
      program,
      arguments: way === "serve" ? [] : ["waits"],
      onReport: () => this.#begun(),
    });
  }

  async go(step: string): Promise<Walked> {
    await this.#guest.loaded;
    if (this.#way === "take over" || this.#way === "abandon") await this.#leaveBehind();
    const { ended, ready } = this.#start(COMMANDS[this.#way], step);
    if (this.#way === "serve" && (await ready)) this.#beginGuest();
    if (this.#way === "take over") this.#letGuestGoOn();
    void this.#guest.done.then(() => this.#host.domainDestroyed || this.#process?.kill("SIGTERM"));
    const exit = await this.#patiently(ended);
    const endedAt = performance.now();
    const isLeft = exit === FAULT || (this.#way === "take over" && exit !== 0);
    const next = isLeft && !this.#host.domainDestroyed ? await this.#startAgain() : null;
    if (this.#way === "attach" && !this.#host.domainDestroyed) this.#endService();
    const { ok } = await this.#guest.stop();
    return {
      steps: this.#steps,
      exit,
      next,
      endedAfterMs: this.#reachedAt === null ? null : endedAt - this.#reachedAt,
      said: this.#said,
      left: await this.#left(),
      served: ok,
    };
  }

  async close(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#guest.stop();
    this.#store.close();
    this.#host.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** A guest that waits for an answer, and nobody who gives it. */
  async #leaveBehind(): Promise<void> {
    const { ended, ready } = this.#start("run", "none");
    if (!(await ready)) throw new Error(`the first process ended: ${this.#said}`);
    const begun = new Promise<void>((resolve) => {
      this.#begun = resolve;
    });
    this.#beginGuest();
    await begun;
    this.#process?.kill("SIGKILL");
    await ended;
    this.#said = "";
  }

  /** What was missing is there again. */
  async #startAgain(): Promise<number | NodeJS.Signals> {
    const { ended, ready } = this.#start("run", "none");
    if ((await ready) && !this.#hasBegun) this.#beginGuest();
    void this.#guest.done.then(() => this.#process?.kill("SIGTERM"));
    return this.#patiently(ended);
  }

  #beginGuest(): void {
    this.#hasBegun = true;
    this.#host.unpause();
    this.#guest.begin();
  }

  #letGuestGoOn(): void {
    this.#host.ram[GO_ON] = 1;
  }

  /** What `ioreqd attach` has started, while nobody else ends it. */
  #endService(): void {
    const pid = Number(this.#store.read(`/local/domain/0/device-model/${SIM_DOMID}/ioreqd/pid`));
    if (pid > 0) process.kill(pid, "SIGTERM");
  }

  /** `ready` resolves with whether it came to that. */
  #start(command: Command, step: string) {
    const directory = this.#directory;
    const stateDir = ["--state-dir", join(directory, "state")];
    const argv = {
      run: ["--domid", "1", "--watchdog", "0", "-v", "--log-format", "json", ...devices(directory), ...stateDir],
      abandon: ["1", ...stateDir],
      attach: ["1", "--device", "edu,addr=10.0"],
    }[command];
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      ...this.#host.environment(),
      XENSTORED_PATH: this.#store.path,
      ...(step === "none" ? {} : { NODE_OPTIONS: `--require=${join(__dirname, "steps.js")}` }),
      IOREQD_CONFIG_DIR: directory,
      [STEP]: step,
      [OF_COMMAND]: command,
      [DONE_FILE]: join(this.#directory, "destroyed"),
    };
    const child = spawn(process.execPath, [PROGRAM, command, ...argv], {
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process = child;
    const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
    const ready = new Promise<boolean>((resolve) => {
      createInterface({ input: child.stderr }).on("line", (line) => {
        if (line.startsWith(REACHED)) this.#reached(line.slice(REACHED.length), step);
        else this.#said += `${line}\n`;
        if (line.includes('"msg":"ready"')) resolve(true);
      });
      void ended.then(() => resolve(false));
    });
    return { ended, ready };
  }

  #reached(name: string, step: string): void {
    this.#steps.push(name);
    if (step === "count") return;
    this.#reachedAt ??= performance.now();
    if (!/^(before|after) /.test(step)) return;
    this.#host.destroyDomain();
    this.#store.release(SIM_DOMID);
    writeFileSync(join(this.#directory, "destroyed"), "");
  }

  /** One that does not end by itself is killed, and that is how it ended. */
  async #patiently(ended: Promise<number | NodeJS.Signals>): Promise<number | NodeJS.Signals> {
    const patience = setTimeout(PATIENCE_MS, "late" as const, { ref: false });
    if ((await Promise.race([ended, patience])) === "late") this.#process?.kill("SIGKILL");
    return ended;
  }

  async #left(): Promise<string[]> {
    const until = performance.now() + SETTLE_MS;
    for (;;) {
      const left = this.#leftNow();
      if (left.length === 0 || performance.now() > until) return left;
      await setTimeout(5);
    }
  }

  #leftNow(): string[] {
    const { servers, ranges, clients } = this.#host.counters();
    const counts = { servers, ranges, connections: clients, "mapped pages": this.#host.mappedPages };
    const numbers = Object.entries(counts).flatMap(([name, count]) => (count === 0 ? [] : [`${count} ${name}`]));
    const paths = [join(this.#directory, "state", "1"), join(this.#directory, "serial")];
    const files = paths.flatMap((path) => (existsSync(path) ? [path, ...entriesOf(path)] : []));
    // What to serve stays as long as the guest.
    const keys = Object.keys(this.#store.values(`/local/domain/0/device-model/${SIM_DOMID}`)).filter(
      (key) => this.#host.domainDestroyed || !/ioreqd\/device\/\d+$/.test(key),
    );
    return [...numbers, ...files, ...keys, ...processesOf(this.#directory).map((pid) => `process ${pid}`)];
  }
}

const entriesOf = (path: string): string[] => (statSync(path).isDirectory() ? readdirSync(path) : []);

/** Walk this way; `step` is what steps.ts does. */
export async function walk(way: Way, step: string): Promise<Walked> {
  const one = await Walk.make(way);
  try {
    return await one.go(step);
  } finally {
    await one.close();
  }
}
