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

export class Command {
  readonly argv: readonly string[];
  readonly pid: number;
  /** Resolves when it has exited and its output is read. Never rejects. */
  readonly exited: Promise<CommandExit>;
  readonly #child: ChildProcess;
  #endedBy: CommandExit["endedBy"] = "itself";
  #exit: CommandExit | null = null;

  private constructor(argv: readonly string[], child: ChildProcess, pid: number) {
    this.argv = argv;
    this.pid = pid;
    this.#child = child;
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
    const child = spawn(file, rest, { env: environment, stdio: ["inherit", out, out === "pipe" ? "pipe" : "inherit"] });
    if (typeof output === "function") {
      for (const stream of ["stdout", "stderr"] as const) {
        child[stream]?.setEncoding("utf8").on("data", (text: string) => output(text, stream));
      }
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

  /** SIGTERM, and after graceMs SIGKILL. Resolves when it is gone; at once when it was already. */
  async end(graceMs: number): Promise<CommandExit> {
    if (this.#exit !== null) return this.#exit;
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
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
    this.#endedBy = "SIGKILL";
    this.#child.kill("SIGKILL");
    // A grandchild that kept the pipes open must not keep us waiting for their end.
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
