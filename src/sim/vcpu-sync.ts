// SPDX-License-Identifier: MIT
/** What the vCPUs of a guest share besides RAM: a stop flag, a barrier and a lock, in one SharedArrayBuffer. */

import { IoreqdError } from "../base/errors.js";

const WORD = { stopped: 0, arrived: 1, generation: 2, lock: 3, count: 4 } as const;

/** States of the lock. Source: Drepper, "Futexes Are Tricky", mutex 2. */
const LOCK = { free: 0, taken: 1, waitedFor: 2 } as const;

export class VcpuSync {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(memory = new SharedArrayBuffer(WORD.count * 4)) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
  }

  get stopped(): boolean {
    return Atomics.load(this.#words, WORD.stopped) !== 0;
  }

  /** From now on barriers and locks throw GUEST_STOPPED, also where they are waited for already. */
  stop(): void {
    Atomics.store(this.#words, WORD.stopped, 1);
    // A waiter that looked before the store finds another generation, or is asleep and is woken.
    Atomics.add(this.#words, WORD.generation, 1);
    Atomics.notify(this.#words, WORD.generation);
    Atomics.store(this.#words, WORD.lock, LOCK.free);
    Atomics.notify(this.#words, WORD.lock);
  }

  /** Wait until `parties` threads are here. */
  barrier(parties: number): void {
    const words = this.#words;
    const generation = Atomics.load(words, WORD.generation);
    this.throwIfStopped();
    if (Atomics.add(words, WORD.arrived, 1) + 1 === parties) {
      Atomics.store(words, WORD.arrived, 0);
      Atomics.add(words, WORD.generation, 1);
      Atomics.notify(words, WORD.generation);
      return;
    }
    while (Atomics.load(words, WORD.generation) === generation) Atomics.wait(words, WORD.generation, generation);
    this.throwIfStopped();
  }

  lock(): void {
    const words = this.#words;
    let seen = Atomics.compareExchange(words, WORD.lock, LOCK.free, LOCK.taken);
    while (seen !== LOCK.free) {
      this.throwIfStopped();
      if (
        seen === LOCK.waitedFor ||
        Atomics.compareExchange(words, WORD.lock, LOCK.taken, LOCK.waitedFor) !== LOCK.free
      ) {
        Atomics.wait(words, WORD.lock, LOCK.waitedFor);
      }
      seen = Atomics.compareExchange(words, WORD.lock, LOCK.free, LOCK.waitedFor);
    }
  }

  unlock(): void {
    if (Atomics.exchange(this.#words, WORD.lock, LOCK.free) === LOCK.waitedFor)
      Atomics.notify(this.#words, WORD.lock, 1);
  }

  throwIfStopped(): void {
    if (this.stopped) throw new IoreqdError("GUEST_STOPPED", "the guest was stopped");
  }
}
