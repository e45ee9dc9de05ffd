// SPDX-License-Identifier: MIT
/**
 * The process that goes on with a guest after `ioreqd reload`. The one that
 * serves starts it and goes on serving; it loads program and devices, tries on
 * a copy of the state file whether it can take that over, and says so. Only
 * then is it told to, and the guest waits no longer than that takes.
 *
 * They speak over Node's channel between parent and child. Where the parent
 * dies before it said so, nothing was asked of the child, and it ends.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { IoreqdError, messageOf } from "../base/errors.js";
import { monotonic } from "../pci/timers.js";

/** What the child says. */
type Said =
  | { readonly is: "prepared"; readonly pid: number }
  | { readonly is: "serving" }
  | { readonly is: "failed"; readonly code: string; readonly message: string };
/** What the parent says. `leftAt`: when the guest began to wait, in ms of CLOCK_MONOTONIC. */
interface Take {
  readonly leftAt: number;
}

/**
 * Starts what follows and ends, so that it is a child of the supervisor's by the time that becomes the main process. Of
 * one that is not its child systemd can't see the end: to stop it, it sends SIGKILL right behind SIGTERM.
 * Source: systemd src/core/service.c, main_pid_alien.
 */
const ORPHANED = ["/bin/sh", "-c", '"$@" &', "sh"];

/** The parent's side. */
export class Successor {
  readonly pid: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child;
    this.pid = pid;
  }

  /**
   * Resolves when it could take over. Throws what it says against that, with its code; RELOAD_FAILED. `supervised`: a
   * supervisor waits for its end. Then it is nobody's child here: neither kill() nor outlive() reach it.
   */
  static async prepare(supervised: boolean): Promise<Successor> {
    const { WATCHDOG_PID: _ours, LISTEN_PID: _mine, LISTEN_FDS: _given, ...env } = process.env;
    const [program = "", ...words] = process.argv.slice(1);
    const argv = [...process.execArgv, program, ...words.filter((word) => word !== SUCCESSOR), SUCCESSOR];
    const [file = "", ...rest] = [...(supervised ? ORPHANED : []), process.execPath, ...argv];
    const child = spawn(file, rest, { env, stdio: ["inherit", "inherit", "inherit", "ipc"] });
    const { pid } = await said(child, "prepared");
    return new Successor(child, pid);
  }

  /** This process has let go. Resolves when the successor serves; throws as prepare() does. */
  async take(leftAt: number): Promise<void> {
    const serving = said(this.#child, "serving");
    this.#child.send({ leftAt } satisfies Take);
    await serving;
  }

  /** Whoever is to know of the successor does: from now on it speaks for itself. */
  letGo(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** It is not ours to wait for. */
  release(): void {
    this.#child.unref();
  }

  /**
   * For who waits for the end of this process, and has signals for it: they are the successor's from now on, and its exit
   * code is ours.
   */
  async outlive(): Promise<number> {
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => this.#child.kill(signal));
    return new Promise((resolve) => {
      const ended = (code: number | null, signal: NodeJS.Signals | null): void =>
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        ended(this.#child.exitCode, this.#child.signalCode);
      else this.#child.once("exit", ended);
    });
  }
}

/** The hidden option of `ioreqd run` that makes it one. */
export const SUCCESSOR = "--successor";

/** Resolves when the child says it. Throws what it says instead, with its code; RELOAD_FAILED where it says nothing. */
export function said<What extends Said["is"]>(child: ChildProcess, what: What): Promise<Said & { readonly is: What }> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      child.off("message", hear).off("disconnect", ended).off("error", failed);
      act();
    };
    const hear = (message: unknown): void => {
      const words = message as Said;
      if (words.is === what) settle(() => resolve(words as Said & { readonly is: What }));
      else if (words.is === "failed") {
        if (child.connected) child.disconnect();
        settle(() => reject(new IoreqdError(words.code, words.message)));
      }
    };
    const failed = (error: Error): void =>
      settle(() => reject(new IoreqdError("RELOAD_FAILED", `start another process: ${error.message}`)));
    // Not "exit": who said something and ended was heard by then, and it may be no child of ours.
    const ended = (): void =>
      settle(() =>
        reject(
          new IoreqdError(
            "RELOAD_FAILED",
            `the process that was to go on ended before it was ${what}; the log has what it said`,
          ),
        ),
      );
    child.on("message", hear).on("disconnect", ended).on("error", failed);
  });
}

/** The child's side. */
export class Predecessor {
  /** How long, in ms, the guest has waited. */
  #leftAt: number | null = null;

  /** Say that all is well so far. Resolves when this process is to take over; false when nothing is asked of it any more. */
  async prepared(): Promise<boolean> {
    const told = new Promise<boolean>((resolve) => {
      process.once("message", (message) => {
        this.#leftAt = (message as Take).leftAt;
        resolve(true);
      });
      process.once("disconnect", () => resolve(false));
    });
    this.#say({ is: "prepared", pid: process.pid });
    return told;
  }

  /** Say that the guest is served. Returns how long it was not, in ms. */
  serving(): number {
    const waited = monotonic() - (this.#leftAt ?? monotonic());
    this.#say({ is: "serving" });
    return waited;
  }

  /** Resolves when the parent is over with: a supervisor that it had hears this process now. */
  async gone(): Promise<void> {
    if (process.connected) await once(process, "disconnect");
  }

  failed(error: unknown): void {
    const code = error instanceof IoreqdError ? error.code : "RELOAD_FAILED";
    this.#say({ is: "failed", code, message: messageOf(error) });
  }

  #say(words: Said): void {
    if (process.connected) process.send?.(words);
  }
}
