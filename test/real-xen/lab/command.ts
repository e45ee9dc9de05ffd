// SPDX-License-Identifier: MIT
/** Commands of the host, run to their end. */

import { spawn } from "node:child_process";
import { IoreqdError } from "../../../src/base/errors.js";

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: Buffer;
  /** Default: ten minutes. */
  readonly timeoutMs?: number;
}

const MOST_SHOWN = 2_000;

/** What the command printed. Throws LAB_COMMAND_FAILED with the end of what it said. */
export function command(name: string, args: readonly string[], options: CommandOptions = {}): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const { cwd, env, input, timeoutMs = 600_000 } = options;
    const child = spawn(name, args, { cwd, env, stdio: ["pipe", "pipe", "pipe"], timeout: timeoutMs });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    const fail = (what: string) => {
      const said = Buffer.concat([...out, ...err])
        .toString()
        .slice(-MOST_SHOWN);
      reject(new IoreqdError("LAB_COMMAND_FAILED", `${name} ${args.join(" ")}: ${what}\n${said}`, { name, args }));
    };
    child.stdout.on("data", (data: Buffer) => out.push(data));
    child.stderr.on("data", (data: Buffer) => err.push(data));
    child.on("error", (error) => fail(error.message));
    child.on("close", (status, signal) => {
      if (status === 0) resolve(Buffer.concat(out));
      else fail(status === null ? `ended by ${signal} (deadline: ${timeoutMs / 1000} s)` : `exit status ${status}`);
    });
    // A command may end without having read all of its input; its status tells what that meant.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}
