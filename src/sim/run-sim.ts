// SPDX-License-Identifier: MIT
/** `ioreqd sim`: a simulated host with a guest on it, and a device model under it, from start to end. */

import type { SimCounters } from "./addon.js";
import type { CommandExit, CommandOutput } from "./command.js";
import type { SimArch } from "./host.js";
import type { SimResult } from "./result.js";
import type { RoundTrips } from "./round-trips.js";
import { SimSession } from "./session.js";
import type { GuestOutcome } from "./vcpu-outcome.js";

export interface SimOptions {
  /** 1 to 128; 1 unless told. */
  vcpus?: number;
  /** Guest RAM, 1 to 4095 MiB; 64 unless told. */
  memoryMib?: number;
  arch?: SimArch;
  /** A built-in guest program's name, or a .ts, .js or .so file. Without one the guest idles. */
  guest?: string;
  /** Words for the guest program. */
  guestArguments?: readonly string[];
  /** The device model and its arguments. Without one, start it yourself: the "listening" event has its environment. */
  command?: readonly string[];
  /** Where the command's output goes; "inherit" unless told. */
  commandOutput?: CommandOutput;
  /** How long, in ms, until a server must be enabled; 30000 with a command, else for ever (-1). */
  serverTimeoutMs?: number;
  /** How long, in ms, the command has after SIGTERM before SIGKILL; 5000 unless told. */
  exitTimeoutMs?: number;
  /** As in SimHostOptions. */
  spinUs?: number;
  /** Called with what happens, as it happens. */
  onProgress?: (event: SimEvent) => void;
  /** Milliseconds between "figures" events; 1000 unless told. */
  figuresMs?: number;
  /** End the run, tidily. */
  signal?: AbortSignal;
  /** Whether SIGINT and SIGTERM to this process end the run (a second one kills the command); true unless told. */
  handleSignals?: boolean;
}

export type SimEvent =
  /** The host is up. `environment` is what a device model needs to connect to it. */
  | { type: "listening"; socket: string; environment: Readonly<Record<string, string>> }
  | { type: "command-started"; pid: number; argv: readonly string[] }
  | { type: "server-enabled"; afterMs: number }
  /** `atMs` counts from the guest's beginning. */
  | { type: "step" | "log"; vcpu: number; atMs: number; text: string; detail: Readonly<Record<string, unknown>> }
  | { type: "figures"; atMs: number; counters: SimCounters; roundTrips: RoundTrips }
  | { type: "guest-ended"; outcome: GuestOutcome }
  | { type: "stopping"; why: string }
  | { type: "command-exited"; exit: CommandExit };

/**
 * Run it. Whatever happens on the way, when this returns or throws, the command has gone
 * and the socket with its directory is removed.
 *
 * What goes wrong in the run is told in the result. Thrown are the caller's mistakes and what keeps
 * the host from starting: BAD_VALUE, GUEST_NOT_FOUND, XENSIM_NOT_BUILT, HOST_START_FAILED.
 */
export async function runSim(options: SimOptions): Promise<SimResult> {
  const session = new SimSession(options);
  const interrupt = new Interrupt(options, () => session.killCommand());
  try {
    return await session.run(interrupt.happened);
  } finally {
    interrupt.close();
    session.close();
  }
}

/** SIGINT, SIGTERM and the caller's AbortSignal, as one promise. */
class Interrupt {
  readonly happened: Promise<string>;
  readonly #undo: Array<() => void> = [];

  constructor(options: SimOptions, again: () => void) {
    this.happened = new Promise((resolve) => {
      let before = false;
      const hear = (what: string): void => {
        if (before) again();
        before = true;
        resolve(what);
      };
      for (const name of options.handleSignals === false ? [] : (["SIGINT", "SIGTERM"] as const)) {
        const handler = (): void => hear(name);
        process.on(name, handler);
        this.#undo.push(() => process.off(name, handler));
      }
      const { signal } = options;
      if (signal === undefined) return;
      const handler = (): void => resolve("abort");
      if (signal.aborted) handler();
      signal.addEventListener("abort", handler);
      this.#undo.push(() => signal.removeEventListener("abort", handler));
    });
  }

  close(): void {
    for (const undo of this.#undo) undo();
  }
}
