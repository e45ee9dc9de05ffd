// SPDX-License-Identifier: MIT
/** A guest that ioreqd serves, with something happening beside it while it runs. */

import { spawn } from "node:child_process";
import { readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { control } from "../../src/control/client.js";
import { runSim, type SimResult } from "../../src/sim/index.js";
import { type Finished, guestProgram, PROGRAM, withDirectory } from "./ioreqd.js";

/** Milliseconds and more. */
const MOST_TURNS = 2000;

/** A guest that does nothing until 00:1f.0 is there: that is how a test ends it. */
export const IDLE = guestProgram(`
  vcpu.step("up");
  while (vcpu.configRead("00:1f.0", 0, 4) === 0xffffffff) Atomics.wait(new Int32Array(vcpu.shared), 0, 0, 20);
`);
export const end = (running: Running): Promise<unknown> => running.ask("device.add", { spec: "counter,addr=00:1f.0" });

export class Running {
  readonly stateDir: string;
  /** Of the control socket. */
  readonly socket: string;
  environment: NodeJS.ProcessEnv = process.env;
  /** Of the process that serves. */
  pid = 0;
  output = "";
  readonly #directory: string;
  readonly #steps: string[] = [];
  #look: () => void = () => {};

  constructor(directory: string) {
    this.#directory = directory;
    this.stateDir = join(directory, "state");
    this.socket = join(this.stateDir, "1", "control");
  }

  path(name: string): string {
    return join(this.#directory, name);
  }

  told(text: string): void {
    this.#steps.push(text);
    this.#look();
  }

  /** Resolves when the guest has told this step, each telling once. */
  step(text: string): Promise<void> {
    return new Promise((resolve) => {
      this.#look = () => {
        const at = this.#steps.indexOf(text);
        if (at < 0) return;
        this.#steps.splice(at, 1);
        this.#look = () => {};
        resolve();
      };
      this.#look();
    });
  }

  /** `ioreqd device ACTION GUEST …`, here or in another directory. */
  device(
    action: "add" | "remove" | "list",
    words: string[],
    { guest = "1", cwd = this.#directory } = {},
  ): Promise<Finished> {
    const argv = [PROGRAM, "device", action, "--state-dir", this.stateDir, guest, ...words];
    return new Promise((resolve) => {
      const child = spawn(process.execPath, argv, { cwd, env: { ...process.env, ...this.environment } });
      const finished: Finished = { status: null, stdout: "", stderr: "" };
      child.stdout.on("data", (text) => {
        finished.stdout += String(text);
      });
      child.stderr.on("data", (text) => {
        finished.stderr += String(text);
      });
      child.on("close", (status) => resolve({ ...finished, status }));
    });
  }

  /** The same without a process of its own. */
  ask(command: string, given: Record<string, string> = {}): Promise<unknown> {
    return control(this.socket, command, given);
  }

  /** What the process that serves has open, sorted. */
  open(): string[] {
    const fds = `/proc/${this.pid}/fd`;
    return readdirSync(fds)
      .map((fd) => linkOf(join(fds, fd)))
      .sort();
  }

  /** The same, once it is as expected, or what it stays: connections and files are closed a turn of its loop later. */
  async openIn(expected: readonly string[]): Promise<string[]> {
    for (let turn = 0; ; turn += 1) {
      const open = this.open();
      if (turn === MOST_TURNS || open.join() === expected.join()) return open;
      await setTimeout(1);
    }
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path).replace(/\d+/g, "N");
  } catch {
    return "closed meanwhile";
  }
}

/** `ioreqd run ARGS` serves the guest program while `act` runs; ends when both are done. */
export function whileServed(
  guest: string,
  args: string[],
  act: (running: Running) => Promise<void>,
): Promise<SimResult> {
  return withDirectory(async (directory) => {
    const program = join(directory, "guest.js");
    writeFileSync(program, guest);
    const running = new Running(directory);
    const over = new AbortController();
    let acting: Promise<void> = Promise.resolve();
    const result = await runSim({
      guest: program,
      command: [process.execPath, PROGRAM, "run", "--state-dir", running.stateDir, ...args],
      commandOutput: (text) => {
        running.output += text;
      },
      handleSignals: false,
      signal: over.signal,
      onProgress: (event) => {
        if (event.type === "listening") running.environment = event.environment;
        else if (event.type === "command-started") running.pid = event.pid;
        else if (event.type === "step") running.told(event.text);
        else if (event.type === "server-enabled") {
          acting = act(running);
          acting.catch(() => over.abort());
        }
      },
    });
    await acting;
    return result;
  });
}
