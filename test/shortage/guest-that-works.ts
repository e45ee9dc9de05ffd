// SPDX-License-Identifier: MIT
/** A guest that does a piece of work whenever it is told to, and the process that serves it. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GuestRun } from "../../src/sim/guest-run.js";
import { SimHost } from "../../src/sim/host.js";
import { PROGRAM } from "../support/ioreqd.js";

export interface Options {
  /** Of the process; a directory of its own unless told. */
  readonly stateDir?: string;
  /** Where its standard error goes; a pipe that is read, unless told. */
  readonly stderr?: number;
  readonly verbosity?: "-v" | "-vv";
  readonly devices?: (directory: string) => readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** Where it finds how many pieces are wanted, and what it copies. */
const WANTED = 0x1000;

const GUEST = `
  const EDU = 0xf0000000;
  const must = (holds, what) => { if (!holds) throw new Error(what); };
  module.exports = (vcpu) => {
    const wanted = new Int32Array(vcpu.ram.buffer, ${WANTED}, 1), pause = new Int32Array(new SharedArrayBuffer(4));
    const dma = (from, to, command) => {
      vcpu.write(EDU + 0x80, 8, BigInt(from)); vcpu.write(EDU + 0x88, 8, BigInt(to));
      vcpu.write(EDU + 0x90, 8, 4096n); vcpu.write(EDU + 0x98, 4, command);
      while (vcpu.read(EDU + 0x98, 4) & 1);
    };
    vcpu.configWrite("00:10.0", 0x10, 4, EDU);
    vcpu.configWrite("00:10.0", 4, 2, 7);
    for (let piece = 1; ; piece++) {
      while (Atomics.load(wanted, 0) < piece) Atomics.wait(pause, 0, 0, 2);
      if (wanted[0] > 1e6) return;
      for (let i = 1; i < 20; i++) {
        vcpu.write(EDU + 4, 4, i);
        must(vcpu.read(EDU + 4, 4) === ~i >>> 0, "LIVE is not what was written, inverted");
        const from = 0x100000 + i * 0x20000;
        vcpu.ramWrite(from, new Uint8Array(4096).fill(i));
        dma(from, 0x40000, 1);
        dma(0x40000, from + 0x10000, 3);
        must(vcpu.ramRead(from + 0x10000, 4096).every((byte) => byte === i), "what was copied is not what was sent");
      }
      vcpu.step("did " + piece);
    }
  };
`;

export class GuestThatWorks {
  readonly directory = mkdtempSync(join(tmpdir(), "ioreqd-works-"));
  readonly host = new SimHost({ socketPath: join(this.directory, "xensim") });
  readonly #options: Options;
  readonly #guest: GuestRun;
  #process: ChildProcess | null = null;
  #pieces = 0;
  #did: (text: string) => void = () => {};
  #heard: () => void = () => {};
  /** What the process wrote to standard error. */
  said = "";

  static async serve(options: Options, act: (guest: GuestThatWorks) => Promise<void>): Promise<void> {
    const all = new GuestThatWorks(options);
    try {
      await all.#guest.loaded;
      await all.start();
      all.host.unpause();
      all.#guest.begin();
      await all.works();
      await act(all);
    } finally {
      await all.#close();
    }
  }

  private constructor(options: Options) {
    this.#options = options;
    const program = join(this.directory, "guest.js");
    writeFileSync(program, GUEST);
    this.#guest = new GuestRun(this.host, { program, onReport: ({ text }) => this.#did(text) });
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get stateDir(): string {
    return this.#options.stateDir ?? join(this.directory, "state");
  }

  get control(): string {
    return join(this.stateDir, "1", "control");
  }

  /** Resolves once it serves. */
  async start(): Promise<void> {
    const { stderr, verbosity = "-v", devices = () => [], env = {} } = this.#options;
    const more = ["edu,addr=10.0,delay=0", ...devices(this.directory)].flatMap((spec) => ["-D", spec]);
    const argv = [
      PROGRAM,
      "run",
      verbosity,
      "--domid",
      "1",
      "--state-dir",
      this.stateDir,
      "--log-format",
      "json",
      ...more,
    ];
    const child = spawn(process.execPath, argv, {
      env: { ...process.env, ...this.host.environment(), ...env },
      stdio: ["ignore", "ignore", stderr ?? "pipe"],
    });
    this.#process = child;
    child.stderr?.on("data", (text) => {
      this.said += String(text);
      this.#heard();
    });
    const ended = once(child, "exit").then(() => false);
    if (!(await Promise.race([ended, this.host.waitServerEnabled()]))) throw new Error(`it ended: ${this.said}`);
  }

  /** Resolves when the process has said this. */
  says(pattern: RegExp): Promise<void> {
    return new Promise((resolve) => {
      this.#heard = () => pattern.test(this.said) && resolve();
      this.#heard();
    });
  }

  /** The guest does a piece of work. Throws where it fails, and when the process ends. */
  async works(): Promise<void> {
    this.#pieces += 1;
    const piece = `did ${this.#pieces}`;
    const did = new Promise<string>((resolve) => {
      this.#did = (text) => text === piece && resolve(text);
    });
    Atomics.store(new Int32Array(this.host.ram.buffer), WANTED / 4, this.#pieces);
    const failed = this.#guest.done.then(({ vcpus }) => JSON.stringify(vcpus));
    const ended = once(this.#process as ChildProcess, "exit").then(
      (how) => `the process ended: ${how}: ${this.said.slice(-2000)}`,
    );
    const outcome = await Promise.race([did, failed, ended]);
    if (outcome !== piece) throw new Error(outcome);
  }

  async killAndTakeOver(): Promise<void> {
    const child = this.#process as ChildProcess;
    child.kill("SIGKILL");
    await once(child, "exit");
    await this.start();
  }

  /** Let the guest end, then the process; resolves with its exit code. */
  async end(): Promise<number | null> {
    Atomics.store(new Int32Array(this.host.ram.buffer), WANTED / 4, 2e6);
    await this.#guest.done;
    const child = this.#process as ChildProcess;
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    const [code] = (await exit) as [number | null];
    return code;
  }

  async #close(): Promise<void> {
    await this.#guest.stop();
    this.#process?.kill("SIGKILL");
    this.host.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
