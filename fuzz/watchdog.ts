// SPDX-License-Identifier: MIT
/**
 * Sees from another thread that an input doesn't come to its end, keeps it in a file and ends the process: nobody else
 * can, once the main thread is in a loop.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { isMainThread, Worker, workerData } from "node:worker_threads";

/** Longest input, bytes; behind two words: how many inputs there were, and the length of this one. */
const ROOM = 1 << 16;
const HEADER_WORDS = 2;
/** For one input. The slowest takes a tenth of a second, where the processor is not others'. */
const PATIENCE_MS = 60_000;

interface Shared {
  readonly memory: SharedArrayBuffer;
  readonly file: string;
}

export class Watchdog {
  readonly #memory = new SharedArrayBuffer(HEADER_WORDS * 4 + ROOM);
  readonly #words = new Int32Array(this.#memory, 0, HEADER_WORDS);
  readonly #bytes = new Uint8Array(this.#memory, HEADER_WORDS * 4);
  readonly #worker: Worker;

  /** `file`: where an input goes that does not end. */
  constructor(file: string) {
    const shared: Shared = { memory: this.#memory, file };
    this.#worker = new Worker(__filename, { workerData: shared });
    this.#worker.unref();
  }

  /** From now on this is the input that is to come to its end. */
  watch(input: Uint8Array): void {
    this.#bytes.set(input.subarray(0, ROOM));
    this.#words[1] = Math.min(input.length, ROOM);
    Atomics.add(this.#words, 0, 1);
    Atomics.notify(this.#words, 0);
  }
}

function guard({ memory, file }: Shared): void {
  const words = new Int32Array(memory, 0, HEADER_WORDS);
  for (;;) {
    const count = Atomics.load(words, 0);
    // Before the first input there is nothing to see.
    const patience = count === 0 ? Number.POSITIVE_INFINITY : PATIENCE_MS;
    if (Atomics.wait(words, 0, count, patience) !== "timed-out") continue;
    if (Atomics.load(words, 0) !== count) continue;
    const input = new Uint8Array(memory, HEADER_WORDS * 4, words[1] as number).slice();
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, input);
    process.stderr.write(`fuzz: an input takes more than ${PATIENCE_MS / 1000} s: ${file}\n`);
    process.kill(process.pid, "SIGKILL");
  }
}

if (!isMainThread) guard(workerData as Shared);
