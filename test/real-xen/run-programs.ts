// SPDX-License-Identifier: MIT
/** Guest programs on a guest of the lab: started in dom0 by one process, and told here one by one. */

import type { ProgramRun, RunLine } from "./agent/main.js";
import { type Dom0, quote } from "./lab/dom0.js";
import type { Guest } from "./lab/guests.js";
import { NODE } from "./tests-in-dom0.js";

export class ProgramRuns {
  readonly #lines: RunLine[] = [];
  readonly #waiting = new Map<string, () => void>();
  #rest = "";
  /** Why no more outcome will come. */
  #ended: string | null = null;

  /** Begin all of them, in their order. `place`: of our compiled tests in dom0; files of programs are relative to it. */
  constructor(dom0: Dom0, guest: Guest, place: string, runs: readonly ProgramRun[], timeoutMs: number) {
    const words = runs.map((run) => quote(JSON.stringify({ ...run, file: `${place}/${run.file}` })));
    const main = `${NODE} ${place}/dist/test/real-xen/agent/main.js`;
    const tty = `"$(xenstore-read /local/domain/${guest.domid}/console/tty)"`;
    const onOutput = (text: string, stream: "stdout" | "stderr"): void => {
      if (stream === "stdout") this.#hear(text);
    };
    dom0.sh(`${main} ${tty} ${words.join(" ")}`, { timeoutMs, check: false, onOutput }).then(
      ({ status, stderr }) => this.#end(`the runs' process ended with status ${status}. ${stderr.slice(-2_000)}`),
      (error: unknown) => this.#end(String(error)),
    );
  }

  /** What a program reported, its outcome last. Rejects when it did not finish on some vCPU, saying why. */
  async of(name: string): Promise<RunLine[]> {
    const outcome = (): RunLine | undefined =>
      this.#lines.find((line) => line.name === name && line.kind === "outcome");
    while (outcome() === undefined && this.#ended === null)
      await new Promise<void>((resolve) => this.#waiting.set(name, resolve));
    const found = outcome();
    if (found?.kind !== "outcome") throw new Error(this.#ended ?? "no outcome");
    const failed = found.outcome.vcpus.filter(({ state }) => state !== "finished");
    if (failed.length > 0) throw new Error(failed.map(({ vcpu, message }) => `vCPU ${vcpu}: ${message}`).join("\n"));
    return this.#lines.filter((line) => line.name === name);
  }

  #hear(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() as string;
    for (const line of lines) {
      if (!line.startsWith("{")) continue;
      const heard = JSON.parse(line) as RunLine;
      this.#lines.push(heard);
      if (heard.kind === "outcome") this.#waiting.get(heard.name)?.();
    }
  }

  #end(why: string): void {
    this.#ended = why;
    for (const wake of this.#waiting.values()) wake();
  }
}
