// SPDX-License-Identifier: MIT
/**
 * Bytes on their way out. They wait in the arena, so a process that dies loses none.
 *
 * A reader that is slow slows the guest down: it is told that the line is busy. A reader that stands still does so for
 * a moment only. From then on what does not fit is dropped, until the reader moves again: nobody has to read a
 * console, and a guest that waits for ever for somebody who does would be a guest that hangs.
 */

import type { ChardevState } from "../pci/chardev-state.js";

/**
 * Bytes sent in one turn of the event loop: half a millisecond at most. Each has a system call of its own, and is noted
 * behind it, so that of what a killed process sent no more than one byte is not noted, and sent again.
 */
const PIECE = 256;
/**
 * Milliseconds until bytes go out again, so that a stream goes out by the dozen: each time wakes the reader, which costs
 * more than the guest's access. The first byte after a pause does not wait. A line of 115200 baud takes 22 characters'
 * time for it.
 */
export const GATHER_MS = 2;
/** The line is busy from when only this many bytes fit, which a device may still send, until half of all fit. */
const RESERVED = 64;
/** Milliseconds a reader may stand still while the guest waits. Linux calls a processor that hangs for 20 s locked up. */
export const STALL_MS = 1000;

/** Where bytes go. It never waits. */
export interface Sink {
  /** Sends up to `most` of the bytes that wait, and notes each as sent. Returns how many, -1 when nobody takes any more. */
  send(state: ChardevState, most: number): number;
  /** Call this once when it may take more; null: no more. */
  whenReady(ready: (() => void) | null): void;
}

export interface OutputRights {
  host(work: () => void): void;
  /** Told how many bytes were dropped since it was last told. */
  overflowed(bytes: number): void;
  /** The sink takes no more, and is not used any more. */
  lost(): void;
}

export class Output {
  readonly #state: ChardevState;
  readonly #rights: OutputRights;
  #sink: Sink | null = null;
  /** Somebody was there when the process before died, and may come back: what waits is kept for them. */
  #expected: boolean;
  #onReady: () => void = () => {};
  #busy = false;
  /** The device may know from an earlier process that the line is busy: it is told once in any case. */
  #tellReady = true;
  #stalled = false;
  #blocked = false;
  #dropped = 0;
  #pumping: NodeJS.Immediate | null = null;
  #telling: NodeJS.Immediate | null = null;
  /** Bytes went out just now: the next ones gather. */
  #gathering: NodeJS.Timeout | null = null;
  #stall: NodeJS.Timeout | null = null;

  constructor(state: ChardevState, rights: OutputRights) {
    this.#state = state;
    this.#rights = rights;
    this.#expected = state.peer;
    this.#schedule();
  }

  /** From now on bytes go here, first those that wait. */
  connect(sink: Sink): void {
    this.#sink?.whenReady(null);
    this.#sink = sink;
    this.#expected = false;
    this.#state.peer = true;
    this.#moving();
    this.#schedule();
  }

  /** Nobody is there: what waits was for the one who has gone, and what comes is dropped. */
  disconnect(): void {
    this.#sink?.whenReady(null);
    this.#sink = null;
    this.#expected = false;
    this.#state.peer = false;
    this.#state.discard();
    this.#moving();
    this.#schedule();
  }

  onReady(handler: () => void): void {
    this.#onReady = handler;
  }

  /** Whether the device may send more than it has begun to. */
  get ready(): boolean {
    if (!this.#kept || this.#stalled) return true;
    const free = this.#state.size - this.#state.waiting;
    if (free < RESERVED) this.#busy = true;
    else if (free >= this.#state.size / 2) this.#busy = false;
    return !this.#busy;
  }

  /** Within a transaction. */
  write(byte: number): void {
    if (!this.#kept) return;
    if (!this.#state.append(byte)) {
      this.#dropped += 1;
      this.#telling ??= setImmediate(() => this.#tell()); // not in #pump(): a sink that is stuck has none
    }
    if (!this.#blocked && this.#gathering === null) this.#schedule();
  }

  /** Send what the sink takes at once, and nothing after that. */
  close(): void {
    while (this.#sink !== null && this.#state.waiting > 0 && this.#sink.send(this.#state, PIECE) > 0);
    this.#sink?.whenReady(null);
    this.#sink = null;
    this.#expected = false;
    this.#moving();
    for (const immediate of [this.#pumping, this.#telling]) if (immediate !== null) clearImmediate(immediate);
    if (this.#gathering !== null) clearTimeout(this.#gathering);
  }

  get #kept(): boolean {
    return this.#sink !== null || this.#expected;
  }

  /** After the access is committed, and many bytes at once. */
  #schedule(): void {
    this.#pumping ??= setImmediate(() => {
      this.#pumping = null;
      this.#pump();
    });
  }

  #pump(): void {
    const sent = this.#sink === null || this.#state.waiting === 0 ? 0 : this.#sink.send(this.#state, PIECE);
    if (sent < 0) {
      this.disconnect();
      this.#rights.lost();
      return;
    }
    if (sent > 0) this.#moving();
    if (sent === PIECE) this.#schedule();
    else if (this.#state.waiting > 0 && this.#kept) this.#wait();
    else if (sent > 0) this.#gather();
    this.#announce();
  }

  #gather(): void {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = null;
      if (this.#state.waiting > 0 && !this.#blocked) this.#pump();
    }, GATHER_MS);
  }

  /** Nothing more goes out now. */
  #wait(): void {
    this.#blocked = true;
    this.#sink?.whenReady(() => {
      this.#blocked = false;
      this.#pump();
    });
    if (!this.#stalled) this.#stall ??= setTimeout(() => this.#standsStill(), STALL_MS);
  }

  /** Tried once more: a socket is called ready only when most of what it holds was read, but may take a byte before. */
  #standsStill(): void {
    this.#stall = null;
    this.#stalled = true;
    this.#pump();
  }

  /** Bytes move, or there are none. */
  #moving(): void {
    this.#stalled = false;
    this.#blocked = false;
    if (this.#stall !== null) clearTimeout(this.#stall);
    this.#stall = null;
  }

  #announce(): void {
    if ((!this.#busy && !this.#tellReady) || !this.ready) return;
    this.#busy = false;
    this.#tellReady = false;
    this.#rights.host(this.#onReady);
  }

  #tell(): void {
    this.#telling = null;
    this.#rights.overflowed(this.#dropped);
    this.#dropped = 0;
  }
}
