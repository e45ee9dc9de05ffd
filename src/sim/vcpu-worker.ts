// SPDX-License-Identifier: MIT
/** The thread of one vCPU: loads the guest program, waits for the word, runs it, tells how it ended. */

import { parentPort, workerData } from "node:worker_threads";
import { IoreqdError } from "../base/errors.js";
import { loadDefault } from "../base/load-module.js";
import type { VcpuReport } from "./cpu.js";
import type { GuestProgram } from "./guest.js";
import { Vcpu } from "./vcpu.js";
import type { VcpuPlace } from "./vcpu-interrupts.js";
import { failureOf, type VcpuOutcome } from "./vcpu-outcome.js";

export interface WorkerTask {
  readonly place: VcpuPlace;
  readonly file: string;
  /** For loadModule. */
  readonly cache?: string;
}

export type WorkerMessage =
  | { readonly kind: "ready" }
  | VcpuReport
  | { readonly kind: "ended"; readonly outcome: VcpuOutcome };

const { place, file, cache } = workerData as WorkerTask;
const say = (message: WorkerMessage): void => parentPort?.postMessage(message);

function load(): GuestProgram {
  const program = loadDefault(file, cache);
  if (typeof program === "function") return program as GuestProgram;
  throw new IoreqdError(
    "GUEST_LOAD_FAILED",
    `guest program ${file}: its default export is ${program === undefined ? "missing" : `of type ${typeof program}`}; it must be a function (vcpu) => void`,
    { file },
  );
}

async function run(program: GuestProgram): Promise<VcpuOutcome> {
  const vcpu = new Vcpu(place, say);
  const value = await program(vcpu);
  if (value === undefined || value === 0) return { vcpu: place.vcpu, state: "finished" };
  throw new IoreqdError("GUEST_FAILED", `the guest program returned ${String(value)}`, { value });
}

function end(outcome: VcpuOutcome): void {
  say({ kind: "ended", outcome });
  parentPort?.close();
}

try {
  const program = load();
  parentPort?.once("message", () => {
    run(program).then(end, (error: unknown) => end(failureOf(place.vcpu, error)));
  });
  say({ kind: "ready" });
} catch (error) {
  end(failureOf(place.vcpu, error));
}
