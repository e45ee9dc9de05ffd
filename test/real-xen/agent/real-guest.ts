// SPDX-License-Identifier: MIT
/** Guest programs on a real guest: what GuestRun is for the simulated host. Runs in dom0. */

import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { IoreqdError, messageOf } from "../../../src/base/errors.js";
import type { VcpuReport } from "../../../src/sim/cpu.js";
import type { DmaMemory } from "../../../src/sim/guest.js";
import { failureOf, type GuestOutcome, type VcpuOutcome } from "../../../src/sim/vcpu-outcome.js";
import { VcpuSync } from "../../../src/sim/vcpu-sync.js";
import { handledMemory } from "./lines.js";
import { AgentLink } from "./link.js";
import { answer, mailboxMemory } from "./mailbox.js";
import type { RemoteMessage, RemoteTask } from "./worker.js";

const SHARED_BYTES = 1 << 20;

export interface RunOptions {
  /** The program's compiled module. */
  readonly file: string;
  /** Words for the program. */
  readonly arguments?: readonly string[];
  readonly onReport?: (report: VcpuReport) => void;
}

export class RealGuest {
  readonly vcpus: number;
  readonly dmaMemory: DmaMemory;
  readonly #link: AgentLink;
  /** Interrupts were counted in the guest since it booted, whatever program runs. */
  readonly #handled = handledMemory();

  private constructor(link: AgentLink, vcpus: number, dmaMemory: DmaMemory) {
    this.#link = link;
    this.vcpus = vcpus;
    this.dmaMemory = dmaMemory;
  }

  /** `tty`: of the guest's PV console. Rejects with GUEST_AGENT_SILENT when no agent answers there. */
  static async connect(tty: string): Promise<RealGuest> {
    const link = new AgentLink(tty);
    const [vcpus, gpa, end] = (await link.request(0, "hello")).split(" ").map((word) => Number.parseInt(word, 16));
    return new RealGuest(link, vcpus as number, { gpa: gpa as number, length: (end as number) - (gpa as number) });
  }

  /** Run a program on `vcpus` vCPUs (all unless told), one program at a time. Never rejects. */
  async run(options: RunOptions, vcpus = this.vcpus): Promise<GuestOutcome> {
    const sync = new VcpuSync();
    const common = {
      vcpus,
      arguments: options.arguments ?? [],
      dmaMemory: this.dmaMemory,
      sync: sync.memory,
      shared: new SharedArrayBuffer(SHARED_BYTES),
      handled: this.#handled,
    };
    const outcomes = await Promise.all(
      Array.from({ length: vcpus }, async (_, vcpu) => {
        const place = { ...common, vcpu, mailbox: mailboxMemory() };
        const outcome = await this.#runOn({ place, file: options.file }, options.onReport ?? (() => {}));
        if (outcome.state === "failed") sync.stop();
        return outcome;
      }),
    );
    return { ok: outcomes.every(({ state }) => state === "finished"), vcpus: outcomes };
  }

  close(): void {
    this.#link.close();
  }

  #runOn(task: RemoteTask, report: (report: VcpuReport) => void): Promise<VcpuOutcome> {
    const { vcpu, mailbox } = task.place;
    const worker = new Worker(join(__dirname, "worker.js"), { workerData: task, name: `vcpu${vcpu}` });
    return new Promise((resolve) => {
      worker.on("message", (message: RemoteMessage) => {
        if (message.kind === "ended") resolve(message.outcome);
        else if (message.kind !== "ask") report(message);
        else {
          this.#link.request(vcpu, message.question).then(
            (text) => answer(mailbox, text),
            (error: unknown) => answer(mailbox, asIoreqdError(error)),
          );
        }
      });
      worker.on("error", (error) => resolve(failureOf(vcpu, error)));
      worker.on("exit", () =>
        resolve(failureOf(vcpu, new IoreqdError("GUEST_FAILED", "the vCPU's thread ended on its own"))),
      );
    });
  }
}

function asIoreqdError(error: unknown): IoreqdError {
  return error instanceof IoreqdError ? error : new IoreqdError("GUEST_AGENT_SILENT", messageOf(error));
}
