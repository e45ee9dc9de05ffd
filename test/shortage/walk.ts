// SPDX-License-Identifier: MIT
/**
 * A guest's life with a device model, from start-up to teardown, on a host with a xenstored, where one step comes to grief
 * (steps.ts); and what is left of it.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { FAULT } from "../../src/cli/ending.js";
import { GuestRun } from "../../src/sim/guest-run.js";
import { SIM_DOMID, SimHost } from "../../src/sim/host.js";
import { SimXenstored } from "../../src/sim/xenstored.js";
import { PROGRAM } from "../support/ioreqd.js";

/** Of the environment: what steps.ts does, and the file that says that the domain is destroyed. */
export const STEP = "IOREQD_STEP";
export const DONE_FILE = "IOREQD_STEP_DONE";
/** What lines of steps.ts begin with. */
export const REACHED = "step ";

/**
 * `serve`: from start-up to teardown after SIGTERM. `take over`: the same of a process that goes on where another was
 * killed. `abandon`: of `ioreqd abandon`, after such an end.
 */
export type Way = "serve" | "take over" | "abandon";

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
const SETTLE_MS = 2000;

/** Where in guest memory it says that the guest may go on. */
const GO_ON = 0x1000;

/** Uses all that a device model has: configuration space, BARs that move, DMA both ways, a line, messages, a serial line, the ring. */
const GUEST = `
  const EDU = 0xf0000000, PROBE = 0xf1000000;
  const must = (holds, what) => { if (!holds) throw new Error(what); };
  module.exports = (vcpu) => {
    const place = (bdf, ...bars) => {
      bars.forEach((at, i) => vcpu.configWrite(bdf, 0x10 + 4 * i, 4, at));
      vcpu.configWrite(bdf, 4, 2, 7);
    };
    place("00:10.0", EDU);
    vcpu.step("begun");
    const stop = new Int32Array(vcpu.ram.buffer, ${GO_ON}, 1);
    if (vcpu.arguments[0] === "waits") while (Atomics.load(stop, 0) === 0) vcpu.read(EDU + 4, 4);
    const dma = (from, to, command) => {
      vcpu.write(EDU + 0x80, 8, BigInt(from)); vcpu.write(EDU + 0x88, 8, BigInt(to));
      vcpu.write(EDU + 0x90, 8, 64n); vcpu.write(EDU + 0x98, 4, command);
      while (vcpu.read(EDU + 0x98, 4) & 1);
    };
    place("00:11.0", PROBE, PROBE + 0x10000, PROBE + 0x20000);
    place("00:12.0", 0xc100);
    vcpu.ramWrite(0x4000, new Uint8Array(64).fill(7));
    dma(0x4000, 0x40000, 1);
    dma(0x40000, 0x5000, 3);
    must(vcpu.ramRead(0x5000, 64).every((byte) => byte === 7), "what was copied is not what was sent");
    vcpu.write(EDU + 0x60, 4, 1); vcpu.write(EDU + 0x64, 4, 1);
    place("00:10.0", EDU + 0x2000000);
    must(vcpu.read(EDU + 0x2000000, 4) === 0x10000ed, "edu is not where it went");
    vcpu.write(PROBE + 0x10000, 4, 0xfee00000); vcpu.write(PROBE + 0x10008, 4, 0x31); vcpu.write(PROBE + 0x1000c, 4, 0);
    vcpu.configWrite("00:11.0", 0x9c + 2, 2, 0x8000);
    vcpu.write(PROBE + 8, 4, 0);
    must(vcpu.waitMsi()?.data === 0x31, "no message");
    vcpu.out8(0xc100, 65);
    vcpu.vgaWrite(0xa0000, 4, 1);
    vcpu.invalidate();
  };
`;

const devices = (directory: string): string[] =>
  [
    "edu,addr=10.0,delay=1",
    "msix-probe,addr=11.0",
    `pci-serial,addr=12.0,chardev=unix:${join(directory, "serial")}`,
  ].flatMap((spec) => ["--device", spec]);

class Walk {
  readonly #directory: string;
  readonly #host: SimHost;
  readonly #way: Way;
  readonly #guest: GuestRun;
  readonly #store: SimXenstored;
  readonly #steps: string[] = [];
  #process: ChildProcess | null = null;
  #said = "";
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
    if (this.#way !== "serve") await this.#leaveBehind();
    const { ended, ready } = this.#start(this.#way === "abandon" ? "abandon" : "run", step);
    if (this.#way === "serve" && (await ready)) this.#beginGuest();
    if (this.#way === "take over") this.#letGuestGoOn();
    void this.#guest.done.then(() => this.#host.domainDestroyed || this.#process?.kill("SIGTERM"));
    const exit = await this.#patiently(ended);
    const endedAt = performance.now();
    const isLeft = exit === FAULT || (this.#way === "take over" && exit !== 0);
    const next = isLeft && !this.#host.domainDestroyed ? await this.#startAgain() : null;
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
  #startAgain(): Promise<number | NodeJS.Signals> {
    return this.#patiently(this.#start("run", "none").ended);
  }

  #beginGuest(): void {
    this.#host.unpause();
    this.#guest.begin();
  }

  #letGuestGoOn(): void {
    this.#host.ram[GO_ON] = 1;
  }

  /** `ready` resolves with whether it came to that. */
  #start(command: "run" | "abandon", step: string) {
    const stateDir = ["--state-dir", join(this.#directory, "state")];
    const argv =
      command === "run"
        ? ["run", "--domid", "1", "--watchdog", "0", "-v", "--log-format", "json", ...devices(this.#directory)]
        : ["abandon", "1"];
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      ...this.#host.environment(),
      XENSTORED_PATH: this.#store.path,
      ...(step === "none" ? {} : { NODE_OPTIONS: `--require=${join(__dirname, "steps.js")}` }),
      [STEP]: step,
      [DONE_FILE]: join(this.#directory, "destroyed"),
    };
    const child = spawn(process.execPath, [PROGRAM, ...argv, ...stateDir], {
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
    const keys = this.#store.values(`/local/domain/0/device-model/${SIM_DOMID}`);
    const processes = readdirSync("/proc").filter(
      (pid) => /^\d+$/.test(pid) && commandOf(pid).includes(this.#directory),
    );
    return [...numbers, ...files, ...Object.keys(keys), ...processes.map((pid) => `process ${pid}: ${commandOf(pid)}`)];
  }
}

const entriesOf = (path: string): string[] => (statSync(path).isDirectory() ? readdirSync(path) : []);

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return ""; // it has ended
  }
}

/** Walk this way; `step` is what steps.ts does. */
export async function walk(way: Way, step: string): Promise<Walked> {
  const one = await Walk.make(way);
  try {
    return await one.go(step);
  } finally {
    await one.close();
  }
}
