// SPDX-License-Identifier: MIT
/**
 * Timers of a device. Whether one runs and until when is state in the arena;
 * the process's own timer follows it once the transaction is committed. So a
 * handler that is undone has started nothing, and a new process can start
 * what the old one had running.
 */

import type { Arena } from "../state/arena.js";
import type { PlaceDescription } from "../state/layout.js";
import type { Timer } from "./define.js";

/** running (0, 1), then the deadline: milliseconds of CLOCK_MONOTONIC as a double. */
const TIMER_BYTES = 16;
const DEADLINE = 8;
/** Longest delay in ms that a process's timer takes. */
const LONGEST = 2 ** 31 - 1;

export function placeTimers(names: readonly string[]): { places: PlaceDescription[]; length: number } {
  const places = names.flatMap((name, index): PlaceDescription[] => [
    { name: `${name}.running`, at: index * TIMER_BYTES, width: 4, kind: "number" },
    { name: `${name}.deadline`, at: index * TIMER_BYTES + DEADLINE, width: 8, kind: "number" },
  ]);
  return { places, length: names.length * TIMER_BYTES };
}

/** Milliseconds of CLOCK_MONOTONIC: the same clock in every process of this boot. */
export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6;

export class TimerSet {
  readonly byName: Readonly<Record<string, Timer>>;
  readonly #timers: DeviceTimer[];

  /** `at`: offset of the group in the arena's data area. */
  constructor(names: readonly string[], arena: Arena, at: number) {
    this.#timers = names.map((_, index) => new DeviceTimer(arena, arena.dataAt + at + index * TIMER_BYTES));
    this.byName = Object.fromEntries(names.map((name, index) => [name, this.#timers[index] as DeviceTimer]));
  }

  runWith(host: (work: () => void) => void): void {
    for (const timer of this.#timers) timer.host = host;
  }

  reset(): void {
    for (const timer of this.#timers) timer.stop();
  }

  /** After a commit: let the process's timers follow the arena. */
  sync(): void {
    for (const timer of this.#timers) timer.sync();
  }

  /** Let go of the process's timers; the arena keeps what it says. */
  detach(): void {
    for (const timer of this.#timers) timer.detach();
  }
}

class DeviceTimer implements Timer {
  readonly #arena: Arena;
  readonly #at: number;
  #handler: () => void = () => {};
  #handle: NodeJS.Timeout | null = null;
  #handleDeadline = 0;
  host: (work: () => void) => void = (work) => work();

  constructor(arena: Arena, at: number) {
    this.#arena = arena;
    this.#at = at;
  }

  get running(): boolean {
    return this.#arena.load(this.#at, 4) !== 0;
  }

  start(ms: number): void {
    const deadline = new DataView(new ArrayBuffer(8));
    deadline.setFloat64(0, monotonic() + Math.max(0, ms), true);
    this.#arena.store(this.#at + DEADLINE, 4, deadline.getInt32(0, true));
    this.#arena.store(this.#at + DEADLINE + 4, 4, deadline.getInt32(4, true));
    this.#arena.store(this.#at, 4, 1);
  }

  stop(): void {
    if (this.running) this.#arena.store(this.#at, 4, 0);
  }

  onExpire(handler: () => void): void {
    this.#handler = handler;
  }

  sync(): void {
    const deadline = this.running ? this.#arena.view.getFloat64(this.#at + DEADLINE, true) : 0;
    if (deadline === this.#handleDeadline) return;
    this.detach();
    if (deadline === 0) return;
    this.#handleDeadline = deadline;
    const ms = Math.min(LONGEST, Math.max(0, deadline - monotonic()));
    this.#handle = setTimeout(() => this.#expire(), ms);
  }

  detach(): void {
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#handle = null;
    this.#handleDeadline = 0;
  }

  #expire(): void {
    this.#handle = null;
    this.#handleDeadline = 0;
    let done = true;
    this.host(() => {
      // setTimeout rounds down to whole milliseconds; what is early waits again in sync().
      if (!this.running || this.#arena.view.getFloat64(this.#at + DEADLINE, true) > monotonic()) return;
      done = false;
      this.stop();
      this.#handler();
      done = true;
    });
    // A handler that threw was undone, and its timer runs again: it would throw for ever.
    if (!done) this.host(() => this.stop());
  }
}
