// SPDX-License-Identifier: MIT
/** One run of `ioreqd sim`, step by step. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { IoreqdError, messageOf } from "../base/errors.js";
import { Teardown } from "../base/teardown.js";
import type { SimCounters } from "./addon.js";
import { Command, type CommandExit, isCleanExit } from "./command.js";
import type { VcpuReport } from "./cpu.js";
import { DomainStore } from "./domain-store.js";
import { GuestRun } from "./guest-run.js";
import { SimHost } from "./host.js";
import type { SimProblem, SimResult } from "./result.js";
import type { RoundTrips } from "./round-trips.js";
import type { SimEvent, SimOptions } from "./run-sim.js";
import type { GuestOutcome } from "./vcpu-outcome.js";

const SERVER_TIMEOUT_MS = 30_000;
const EXIT_TIMEOUT_MS = 5000;
const FIGURES_MS = 1000;
/** How long clients that are ending have, before they count as left over. */
const LEFTOVERS_MS = 500;
/** Lines of the command's standard error that a message about it ends with. */
const LAST_WORDS = 10;
const MIB = 2 ** 20;

/** What a phase of the run ended with. */
type Ending =
  | { by: "server" }
  | { by: "timeout" }
  | { by: "guest"; outcome: GuestOutcome }
  | { by: "command" }
  | { by: "interrupt"; what: string };

export class SimSession {
  readonly #options: SimOptions;
  readonly #host: SimHost;
  readonly #guest: GuestRun | null;
  readonly #down = new Teardown();
  readonly #problems: SimProblem[] = [];
  readonly #began = performance.now();
  #store: DomainStore | null = null;
  #command: Command | null = null;
  #interruptedBy: string | null = null;
  #serverMs: number | null = null;
  #guestBegan: number | null = null;
  #guestMs: number | null = null;
  #steps = 0;

  constructor(options: SimOptions) {
    this.#options = options;
    try {
      const directory = mkdtempSync(join(tmpdir(), "ioreqd-sim-"));
      this.#down.defer("socket directory", () => rmSync(directory, { recursive: true, force: true }));
      this.#host = new SimHost({
        socketPath: join(directory, "xensim"),
        memory: (options.memoryMib ?? 64) * MIB,
        ...(options.vcpus === undefined ? {} : { vcpus: options.vcpus }),
        ...(options.arch === undefined ? {} : { arch: options.arch }),
        ...(options.spinUs === undefined ? {} : { spinUs: options.spinUs }),
      });
      this.#down.defer("simulated host", () => this.#host.close());
      this.#guest = options.guest === undefined ? null : this.#loadGuest(options.guest, join(directory, "compiled"));
    } catch (error) {
      this.close();
      throw error;
    }
    // For process.exit() in the middle of a run: nothing asynchronous happens any more then.
    const atExit = (): void => this.close();
    process.on("exit", atExit);
    this.#down.defer("exit handler", () => process.off("exit", atExit));
  }

  /** Release all that is left. A second call does nothing. */
  close(): void {
    this.killCommand();
    this.#down.close(() => {}); // a directory that cannot be removed must not hide the result
  }

  killCommand(): void {
    this.#command?.kill();
  }

  async run(interrupted: Promise<string>): Promise<SimResult> {
    const interrupt: Promise<Ending> = interrupted.then((what) => {
      this.#interruptedBy = what;
      return { by: "interrupt", what };
    });
    const store = await DomainStore.start(this.#host);
    this.#down.defer("xenstored", () => store.close());
    this.#store = store;
    const environment = { ...this.#host.environment(), XENSTORED_PATH: store.path };
    this.#tell({ type: "listening", socket: this.#host.socketPath, environment });
    try {
      await this.#startCommand(environment);
      const enabled = await this.#untilServer(interrupt);
      if (enabled) await this.#untilEnd(interrupt);
    } catch (error) {
      this.#fail(error instanceof IoreqdError ? error.code : "SIM_FAILED", messageOf(error));
    }
    const result = await this.#finish();
    this.#host.destroyDomain();
    store.look();
    return result;
  }

  #loadGuest(program: string, cache: string): GuestRun {
    const words = this.#options.guestArguments ?? [];
    return new GuestRun(this.#host, { program, arguments: words, cache, onReport: (report) => this.#hear(report) });
  }

  async #startCommand(environment: Record<string, string>): Promise<void> {
    const { command: argv, commandOutput } = this.#options;
    if (argv === undefined || argv.length === 0) return;
    this.#command = await Command.start(argv, { ...process.env, ...environment }, commandOutput ?? "inherit");
    this.#tell({ type: "command-started", pid: this.#command.pid, argv });
  }

  /** Returns whether the guest may run. */
  async #untilServer(interrupt: Promise<Ending>): Promise<boolean> {
    const timeout = this.#options.serverTimeoutMs ?? (this.#command === null ? -1 : SERVER_TIMEOUT_MS);
    const server = this.#host
      .waitServerEnabled(timeout)
      .then((enabled): Ending => ({ by: enabled ? "server" : "timeout" }));
    const ending = await Promise.race([server, this.#guestFailedToLoad(), this.#commandExited(), interrupt]);
    if (ending.by === "server") {
      this.#serverMs = performance.now() - this.#began;
      this.#tell({ type: "server-enabled", afterMs: this.#serverMs });
      // A module may take for ever to load: the user must be able to end that too.
      const loaded = this.#guest?.loaded ?? true;
      return Promise.race([loaded, this.#commandExited().then(() => true), interrupt.then(() => false)]);
    }
    if (ending.by === "timeout") {
      this.#fail(
        "SERVER_TIMEOUT",
        `no ioreq server was enabled within ${timeout} ms; does the command connect to domain 1 (IOREQD_DOMID) through libxendevicemodel?${this.#lastWords()}`,
      );
    } else if (ending.by === "command") {
      this.#fail(
        "COMMAND_EXITED",
        `the command ended (${this.#howCommandEnded()}) before it had enabled an ioreq server${this.#lastWords()}`,
      );
    }
    return false;
  }

  async #untilEnd(interrupt: Promise<Ending>): Promise<void> {
    this.#guestBegan = performance.now();
    const figures = setInterval(() => this.#tellFigures(), this.#options.figuresMs ?? FIGURES_MS);
    this.#host.unpause();
    this.#guest?.begin();
    const guest = this.#guest?.done.then((outcome): Ending => ({ by: "guest", outcome })) ?? never();
    const ending = await Promise.race([guest, this.#commandExited(), interrupt]);
    clearInterval(figures);
    this.#guestMs = performance.now() - this.#guestBegan;
    if (ending.by === "command" && this.#guest !== null) {
      const how = this.#howCommandEnded();
      this.#fail("COMMAND_EXITED", `the command ended (${how}) while the guest was running${this.#lastWords()}`);
    }
  }

  /** The guest first, then the device model, then the host; and what they came to. */
  async #finish(): Promise<SimResult> {
    if (this.#interruptedBy !== null) this.#tell({ type: "stopping", why: this.#interruptedBy });
    const figures = this.#readFigures(); // before anything takes the servers away
    const guest = await this.#endGuest();
    const exit = await this.#endCommand();
    const leftovers = await this.#readLeftovers();
    const crashReason = this.#host.crashReason;
    if (crashReason !== null) this.#fail("DOMAIN_CRASHED", `Xen crashed the domain: ${crashReason}`);
    const ok = this.#problems.length === 0;
    return {
      ok,
      exitCode: ok ? 0 : 1,
      problems: this.#problems,
      interruptedBy: this.#interruptedBy,
      domain: { vcpus: this.#host.vcpus, memory: this.#host.memory, arch: this.#host.arch },
      guest,
      crashReason,
      console: this.#host.console(),
      command: exit,
      ...figures,
      leftovers,
      times: { serverMs: this.#serverMs, guestMs: this.#guestMs, totalMs: performance.now() - this.#began },
    };
  }

  async #endGuest(): Promise<SimResult["guest"]> {
    if (this.#guest === null) return null;
    // Without a device model a vCPU that waits for it cannot end on its own.
    if (this.#command !== null && this.#command.exit !== null) this.#host.destroyDomain();
    const outcome = await this.#guest.stop(); // returns what there is, when it has ended already
    this.#store?.look();
    this.#tell({ type: "guest-ended", outcome });
    if (this.#interruptedBy !== null && !outcome.ok)
      this.#fail("INTERRUPTED", `the guest was interrupted (${this.#interruptedBy})`);
    for (const { vcpu, state, code, message } of outcome.vcpus) {
      // vCPUs that were stopped because of an earlier problem say nothing new.
      const worthTelling =
        state === "failed" ? code !== "DOMAIN_CRASHED" : state === "stopped" && this.#problems.length === 0;
      if (worthTelling) this.#fail(code ?? "GUEST_FAILED", `vCPU ${vcpu}: ${message}`);
    }
    return { program: this.#guest.program.name, steps: this.#steps, ...outcome };
  }

  async #endCommand(): Promise<SimResult["command"]> {
    const command = this.#command;
    if (command === null) return null;
    const exit = await command.end(this.#options.exitTimeoutMs ?? EXIT_TIMEOUT_MS);
    this.#tell({ type: "command-exited", exit });
    const told = this.#problems.some(({ code }) => code === "COMMAND_EXITED");
    if (!told && !isCleanExit(exit, this.#interruptedBy !== null)) {
      this.#fail("COMMAND_FAILED", `the command ended badly: ${this.#howCommandEnded()}${this.#lastWords()}`);
    }
    return { argv: command.argv, ...exit };
  }

  #hear(report: VcpuReport): void {
    if (report.kind === "step") this.#steps += 1;
    const { kind: type, vcpu, text, detail } = report;
    this.#tell({ type, vcpu, atMs: performance.now() - (this.#guestBegan ?? this.#began), text, detail });
  }

  #tellFigures(): void {
    this.#store?.look(); // a device model may have shut down a domain on which no guest runs
    this.#tell({
      type: "figures",
      atMs: performance.now() - (this.#guestBegan ?? this.#began),
      ...this.#readFigures(),
    });
  }

  #readFigures(): { counters: SimCounters; roundTrips: RoundTrips } {
    return { counters: this.#host.counters(), roundTrips: this.#guest?.roundTrips() ?? {} };
  }

  /** Xen hears of a process's end from its sockets, a moment later than we do. Without a command nobody has ended. */
  async #readLeftovers(): Promise<SimResult["leftovers"]> {
    const deadline = performance.now() + LEFTOVERS_MS;
    for (;;) {
      const { servers, clients } = this.#host.counters();
      const { mappedPages } = this.#host;
      if (this.#command === null || (clients === 0 && mappedPages === 0) || performance.now() > deadline)
        return { servers, clients, mappedPages };
      await setTimeout(5);
    }
  }

  #guestFailedToLoad(): Promise<Ending> {
    const guest = this.#guest;
    if (guest === null) return never();
    return guest.loaded.then((loaded) =>
      loaded ? never() : guest.done.then((outcome): Ending => ({ by: "guest", outcome })),
    );
  }

  #commandExited(): Promise<Ending> {
    return this.#command?.exited.then((): Ending => ({ by: "command" })) ?? never();
  }

  #howCommandEnded(): string {
    const exit: CommandExit | null = this.#command?.exit ?? null;
    if (exit === null) return "still running";
    const how = exit.signal === null ? `exit code ${exit.exitCode}` : `killed by ${exit.signal}`;
    return exit.endedBy === "SIGKILL" ? `${how}, as it did not end after SIGTERM` : how;
  }

  #lastWords(): string {
    const lines = this.#command?.lastWords(LAST_WORDS) ?? [];
    return lines.length === 0 ? "" : `; it said:\n${lines.map((line) => `  ${line}`).join("\n")}`;
  }

  #fail(code: string, message: string): void {
    this.#problems.push({ code, message });
  }

  #tell(event: SimEvent): void {
    this.#options.onProgress?.(event);
  }
}

function never<T>(): Promise<T> {
  return new Promise(() => {});
}
