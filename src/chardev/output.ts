// SPDX-License-Identifier: MIT
/**
 * Bytes on their way out. They wait here while the other side is slow, up to a
 * bound; what comes then is dropped, because a guest must not wait for a stranger.
 */

import { writeSync } from "node:fs";
import type { Writable } from "node:stream";

/** Bytes of output that wait for the other side. */
export const MOST_WAITING = 64 * 1024;
/** Bytes given to a sink at once. */
const PIECE = 4096;
/** Milliseconds until a terminal that was full is tried again. */
const RETRY_MS = 10;

/** Where bytes go. It never waits: what it can't take stays with the caller. */
export interface Sink {
  /** Returns how many bytes, from the first on, it took. */
  write(bytes: Uint8Array): number;
  /** Call `ready` once when it may take more. Returns how to call that off. */
  whenReady(ready: () => void): () => void;
}

/** A stream of Node.js: a pipe, a socket, a file. */
export function streamSink(stream: Writable): Sink {
  return {
    write(bytes) {
      if (stream.destroyed || stream.writableEnded) return bytes.length; // nobody is there to keep it for
      if (stream.writableNeedDrain) return 0;
      stream.write(Buffer.from(bytes)); // a copy: ours is used again
      return bytes.length;
    },
    whenReady(ready) {
      stream.once("drain", ready);
      return () => stream.off("drain", ready);
    },
  };
}

/**
 * A descriptor opened with O_NONBLOCK, as long as `isOpen`: later its number may be another file's.
 *
 * For the master of a pseudo terminal, which Node.js writes to in blocking mode: a reader that stands
 * still would stop us, and the guest with us. Source: libuv src/unix/tty.c, uv_tty_init.
 */
export function descriptorSink(fd: number, isOpen: () => boolean): Sink {
  return {
    write(bytes) {
      if (!isOpen()) return bytes.length;
      try {
        return writeSync(fd, bytes);
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === "EAGAIN" ? 0 : bytes.length;
      }
    },
    whenReady(ready) {
      const timer = setTimeout(ready, RETRY_MS);
      return () => clearTimeout(timer);
    },
  };
}

export class Output {
  readonly #ring = new Uint8Array(MOST_WAITING);
  #first = 0;
  #length = 0;
  #dropped = 0;
  #sink: Sink | null = null;
  #flushing: NodeJS.Immediate | null = null;
  #telling: NodeJS.Immediate | null = null;
  #waiting: (() => void) | null = null;
  readonly #overflowed: (bytes: number) => void;

  /** `overflowed` is told how many bytes were dropped since it was last told. */
  constructor(overflowed: (bytes: number) => void) {
    this.#overflowed = overflowed;
  }

  /** From now on bytes go here. Null: nobody is there, and output is dropped. What waited was for the one before. */
  connect(sink: Sink | null): void {
    this.#cancel();
    this.#length = 0;
    this.#sink = sink;
  }

  write(byte: number): void {
    if (this.#sink === null) return;
    if (this.#length === MOST_WAITING) {
      this.#dropped += 1;
      this.#telling ??= setImmediate(() => this.#tell()); // not in flush(): a sink that is stuck has none
      return;
    }
    this.#ring[(this.#first + this.#length) % MOST_WAITING] = byte;
    this.#length += 1;
    // After the access is committed, and many bytes at once.
    if (this.#waiting === null) this.#flushing ??= setImmediate(() => this.flush());
  }

  /** Give the sink what it takes now; the rest when it is ready. */
  flush(): void {
    this.#cancel();
    const sink = this.#sink;
    if (sink === null) return;
    while (this.#length > 0) {
      const end = Math.min(this.#first + Math.min(this.#length, PIECE), MOST_WAITING);
      const taken = sink.write(this.#ring.subarray(this.#first, end));
      this.#take(taken);
      if (taken > 0) continue;
      this.#waiting = sink.whenReady(() => this.flush());
      break;
    }
  }

  #tell(): void {
    this.#telling = null;
    this.#overflowed(this.#dropped);
    this.#dropped = 0;
  }

  #take(count: number): void {
    this.#first = (this.#first + count) % MOST_WAITING;
    this.#length -= count;
  }

  #cancel(): void {
    if (this.#flushing !== null) clearImmediate(this.#flushing);
    this.#waiting?.();
    this.#flushing = null;
    this.#waiting = null;
  }
}
