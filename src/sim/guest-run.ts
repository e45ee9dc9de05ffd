// SPDX-License-Identifier: MIT
/** A guest program on all vCPUs of a simulated host, from loading it to its end. */

import { Worker } from "node:worker_threads";
import { IoreqdError } from "../base/errors.js";
import { ownFile } from "../base/place.js";
import type { VcpuReport } from "./cpu.js";
import { findGuest, type GuestProgramFile } from "./guests/index.js";
import type { SimHost } from "./host.js";
import { type RoundTrips, roundTripMemory, summarizeRoundTrips } from "./round-trips.js";
import type { VcpuPlace } from "./vcpu-interrupts.js";
import { failureOf, type GuestOutcome, type VcpuOutcome } from "./vcpu-outcome.js";
import { VcpuSync } from "./vcpu-sync.js";
import type { WorkerMessage, WorkerTask } from "./vcpu-worker.js";

export interface GuestRunOptions {
  /** A built-in program's name, or a .ts, .js or .so file. */
  program: string;
  /** Words for the program (vcpu.arguments). Not for programs in C. */
  arguments?: readonly string[];
  /** A directory for what is compiled: the first vCPU fills it, and the others load several times as fast. */
  cache?: string;
  /** Called with each step and log of the program. */
  onReport?: (report: VcpuReport) => void;
}

const SHARED_BYTES = 1 << 20;
/** How long, in ms, each step towards the end of a program may take before the next, harsher one. */
const STOP_GRACE_MS = 500;
const TOLD_IN_VAIN = "the program did not end when it was told to; its thread was ended";

export class GuestRun {
  readonly program: GuestProgramFile;
  /** Resolves when every vCPU has loaded the program, to false if one could not (`done` says why). */
  readonly loaded: Promise<boolean>;
  /** Resolves when every vCPU has ended. Never rejects. */
  readonly done: Promise<GuestOutcome>;
  readonly #host: SimHost;
  readonly #onReport: (report: VcpuReport) => void;
  readonly #sync = new VcpuSync();
  readonly #roundTrips: SharedArrayBuffer;
  readonly #outcomes = new Map<number, VcpuOutcome>();
  readonly #workers: Worker[] = [];
  #waitingToLoad = 0;
  #begun = false;
  #stopping: NodeJS.Timeout | null = null;
  #running: NodeJS.Timeout | null = null;
  #resolveDone: (outcome: GuestOutcome) => void = () => {};
  #resolveLoaded: (loaded: boolean) => void = () => {};

  /** Load the program; it runs once begin() is called. Throws GUEST_NOT_FOUND. */
  constructor(host: SimHost, options: GuestRunOptions) {
    this.program = findGuest(options.program);
    this.#host = host;
    this.#onReport = options.onReport ?? (() => {});
    this.#roundTrips = roundTripMemory(host.vcpus);
    this.done = new Promise((resolve) => {
      this.#resolveDone = resolve;
    });
    this.loaded = new Promise((resolve) => {
      this.#resolveLoaded = resolve;
    });
    if (this.program.language === "js") this.#startWorkers(options.arguments ?? [], options.cache);
    else this.#resolveLoaded(true);
  }

  /** Let the program run. The host's vCPUs do nothing in Xen until it is unpaused, too. */
  begin(): void {
    this.#begun = true;
    if (this.program.language === "js") for (const worker of this.#workers) worker.postMessage("begin");
    else this.#startThreads();
  }

  /** Of programs in TypeScript and JavaScript; those in C are not measured. */
  roundTrips(): RoundTrips {
    return summarizeRoundTrips(this.#roundTrips);
  }

  /**
   * End the program on all vCPUs; resolves when they have ended. A program in TypeScript is told
   * first: its next access throws. If that does not help, and for a program in C at once, the domain is
   * destroyed. What runs on even then is ended with its thread, or in C left to the process's end.
   */
  stop(): Promise<GuestOutcome> {
    this.#sync.stop();
    if (!this.#begun) this.#abandon("the program was not begun");
    if (this.#outcomes.size < this.#host.vcpus && this.#stopping === null) {
      this.#stopping = setTimeout(() => this.#destroy(), this.program.language === "c" ? 0 : STOP_GRACE_MS);
    }
    return this.done;
  }

  #destroy(): void {
    this.#host.destroyDomain();
    for (const worker of this.#workers) void worker.terminate();
    this.#stopping = setTimeout(() => this.#abandon(TOLD_IN_VAIN), STOP_GRACE_MS);
  }

  #startWorkers(words: readonly string[], cache: string | undefined): void {
    const shared = new SharedArrayBuffer(SHARED_BYTES);
    const { id: host, vcpus, arch } = this.#host;
    const common = {
      host,
      vcpus,
      arch,
      arguments: words,
      sync: this.#sync.memory,
      roundTrips: this.#roundTrips,
      shared,
    };
    const { file } = this.program;
    this.#waitingToLoad = vcpus;
    const start = (vcpu: number): Worker => {
      const place: VcpuPlace = { ...common, vcpu };
      return this.#startWorker(vcpu, cache === undefined ? { place, file } : { place, file, cache });
    };
    const startOthers = (): void => {
      for (let vcpu = 1; vcpu < vcpus && !this.#sync.stopped; vcpu += 1) start(vcpu);
    };
    const first = start(0);
    if (cache === undefined) startOthers();
    else first.once("message", startOthers); // "ready"; when it ended instead, the run is stopped by now
  }

  #startWorker(vcpu: number, task: WorkerTask): Worker {
    const worker = new Worker(ownFile("sim/vcpu-worker.js"), { workerData: task, name: `vcpu${vcpu}` });
    this.#workers.push(worker);
    worker.on("message", (message: WorkerMessage) => this.#hear(message));
    worker.on("error", (error) => this.#ended(failureOf(vcpu, error)));
    // After "ended" or an error this changes nothing: the first outcome of a vCPU holds.
    worker.on("exit", () => this.#ended(this.#ofExit(vcpu)));
    return worker;
  }

  #startThreads(): void {
    // The threads do not keep the process alive; this does, while they are waited for.
    this.#running = setInterval(() => {}, 60_000);
    let started = 0;
    let failure: unknown = new IoreqdError("GUEST_LOAD_FAILED", "no thread could be started for this vCPU");
    try {
      started = this.#host.runProgram(this.program.file, (vcpu, status) => this.#ended(this.#ofStatus(vcpu, status)));
    } catch (error) {
      failure = error;
    }
    for (let vcpu = started; vcpu < this.#host.vcpus; vcpu += 1) this.#ended(failureOf(vcpu, failure));
  }

  #ofExit(vcpu: number): VcpuOutcome {
    if (this.#sync.stopped) return { vcpu, state: "stopped", code: "GUEST_STOPPED", message: TOLD_IN_VAIN };
    return failureOf(vcpu, new IoreqdError("GUEST_FAILED", "the vCPU's thread ended on its own"));
  }

  #ofStatus(vcpu: number, status: number): VcpuOutcome {
    if (status === 0) return { vcpu, state: "finished" };
    const message = `xensim_guest_main() returned ${status}`;
    if (this.#sync.stopped) return { vcpu, state: "stopped", code: "GUEST_STOPPED", message };
    return { vcpu, state: "failed", code: "GUEST_FAILED", message };
  }

  #hear(message: WorkerMessage): void {
    if (message.kind === "ended") {
      this.#ended(message.outcome);
    } else if (message.kind === "ready") {
      this.#waitingToLoad -= 1;
      if (this.#waitingToLoad === 0) this.#resolveLoaded(true);
    } else {
      this.#onReport(message);
    }
  }

  #ended(outcome: VcpuOutcome): void {
    if (this.#outcomes.has(outcome.vcpu)) return;
    this.#outcomes.set(outcome.vcpu, outcome);
    this.#resolveLoaded(false);
    if (outcome.state === "failed") void this.stop();
    if (this.#outcomes.size < this.#host.vcpus) return;
    if (this.#stopping !== null) clearTimeout(this.#stopping);
    if (this.#running !== null) clearInterval(this.#running);
    const vcpus = [...this.#outcomes.values()].sort((a, b) => a.vcpu - b.vcpu);
    this.#resolveDone({ ok: vcpus.every(({ state }) => state === "finished"), vcpus });
  }

  #abandon(message: string): void {
    for (const worker of this.#workers) void worker.terminate();
    for (let vcpu = 0; vcpu < this.#host.vcpus; vcpu += 1) {
      this.#ended({ vcpu, state: "stopped", code: "GUEST_STOPPED", message });
    }
  }
}
