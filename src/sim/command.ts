// SPDX-License-Identifier: MIT
/** The device model under a simulated host: a child process that is always waited for. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { IoreqdError, messageOf } from "../base/errors.js";

export type CommandOutput =
  /** Ours: its stdout on our stdout. */
  | "inherit"
  /** All of it on our stderr, for when our stdout is JSON. */
  | "stderr"
  /** Each chunk of text as it comes. */
  | ((text: string, stream: "stdout" | "stderr") => void);

export interface CommandExit {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Which signals we had sent it by then, if any. */
  readonly endedBy: "itself" | "SIGTERM" | "SIGKILL";
}

/** How long, in ms, output may go on after the command's own end: a child of its own may hold the pipes for ever. */
const OUTPUT_GRACE_MS = 500;
/** How much of the last of its standard error is kept, in characters. */
const TAIL_CHARACTERS = 2000;

export class Command {
  readonly argv: readonly string[];
  readonly pid: number;
  /** Resolves when it has exited and its output is read. Never rejects. */
  readonly exited: Promise<CommandExit>;
  readonly #child: ChildProcess;
  #endedBy: CommandExit["endedBy"] = "itself";
  #exit: CommandExit | null = null;
  #tail = "";

  private constructor(argv: readonly string[], child: ChildProcess, pid: number) {
    this.argv = argv;
    this.pid = pid;
    this.#child = child;
    child.stderr?.on("data", (text: string) => {
      this.#tail = (this.#tail + text).slice(-TAIL_CHARACTERS);
    });
    child.once("exit", () => {
      const impatience = setTimeout(() => this.#dropOutput(), OUTPUT_GRACE_MS);
      child.once("close", () => clearTimeout(impatience));
    });
    this.exited = new Promise((resolve) => {
      child.once("close", (exitCode, signal) => {
        this.#exit = { exitCode, signal, endedBy: this.#endedBy };
        resolve(this.#exit);
      });
    });
  }

  /** Throws COMMAND_NOT_STARTED. */
  static async start(argv: readonly string[], environment: NodeJS.ProcessEnv, output: CommandOutput): Promise<Command> {
    const [file = "", ...rest] = argv;
    const out = output === "inherit" ? "inherit" : output === "stderr" ? 2 : "pipe";
    const child = spawn(file, rest, { env: environment, stdio: ["inherit", out, out === "inherit" ? out : "pipe"] });
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream]?.setEncoding("utf8").on("data", (text: string) => {
        if (typeof output === "function") output(text, stream);
        else process.stderr.write(text);
      });
    }
    try {
      await once(child, "spawn");
    } catch (error) {
      throw new IoreqdError(
        "COMMAND_NOT_STARTED",
        `start ${argv.join(" ")}: ${messageOf(error)}`,
        { argv },
        { cause: error },
      );
    }
    return new Command(argv, child, child.pid as number);
  }

  /** How it ended, or null while it runs. */
  get exit(): CommandExit | null {
    return this.#exit;
  }

  /** The last lines of its standard error, at most `count`; none with "inherit", where the terminal has them. */
  lastWords(count: number): readonly string[] {
    return this.#tail
      .split("\n")
      .filter((line) => line.trim() !== "")
      .slice(-count);
  }

  /** SIGTERM, and after graceMs SIGKILL. Resolves when it is gone; at once when it was already. */
  async end(graceMs: number): Promise<CommandExit> {
    if (this.#exit !== null) return this.#exit;
    if (this.#isRunning()) {
      this.#endedBy = "SIGTERM";
      this.#child.kill("SIGTERM");
    }
    const impatience = setTimeout(() => this.kill(), graceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(impatience);
    }
  }

  /** SIGKILL, now. */
  kill(): void {
    if (this.#exit !== null) return;
    if (this.#isRunning()) {
      this.#endedBy = "SIGKILL";
      this.#child.kill("SIGKILL");
    }
    this.#dropOutput();
  }

  #isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  #dropOutput(): void {
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }
}

/** Exit code 0, or the end we asked for: SIGTERM, or SIGINT from a terminal that sends it to both of us. */
export function isCleanExit({ exitCode, signal, endedBy }: CommandExit, interrupted: boolean): boolean {
  if (exitCode === 0) return true;
  if (endedBy === "SIGTERM" && (signal === "SIGTERM" || exitCode === 128 + 15)) return true;
  return interrupted && (signal === "SIGINT" || signal === "SIGTERM" || exitCode === 128 + 2 || exitCode === 128 + 15);
}
