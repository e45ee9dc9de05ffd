// SPDX-License-Identifier: MIT
/**
 * A chardev over a Node.js stream, with an end to what waits: input that the
 * device has no room for stops the source; output that nobody takes is kept up
 * to a bound and then dropped, because a guest must not wait for a stranger.
 */

import type { Duplex, Readable, Writable } from "node:stream";
import type { Chardev, DeviceLog } from "../pci/define.js";

/** Bytes of output that wait for the other side. */
const MOST_WAITING = 64 * 1024;

export interface ChardevRights {
  readonly log: DeviceLog;
  /** Run work as a transaction of its own: a byte that arrives changes the device. */
  host(work: () => void): void;
}

export interface ChardevBackend extends Chardev {
  close(): void;
}

export class StreamChardev implements ChardevBackend {
  readonly #rights: ChardevRights;
  #source: Readable | null = null;
  #sink: Writable | null = null;
  #room: () => number = () => 0;
  #take: (byte: number) => void = () => {};
  /** Arrived, and not taken by the device yet: at most what the source gives at once. */
  #waiting: Buffer = Buffer.alloc(0);
  #outgoing: number[] = [];
  #flushing: NodeJS.Immediate | null = null;
  #polling: NodeJS.Immediate | null = null;
  readonly #closed: Array<() => void> = [];

  constructor(rights: ChardevRights) {
    this.#rights = rights;
  }

  /** From now on bytes come from here and go there. Null: nobody is there, and output is dropped. */
  connect(source: Readable | null, sink: Writable | null): void {
    this.#source?.removeAllListeners("data");
    this.#waiting = Buffer.alloc(0);
    this.#source = source;
    this.#sink = sink;
    source?.on("data", (chunk: Buffer) => {
      this.#waiting = this.#waiting.length === 0 ? chunk : Buffer.concat([this.#waiting, chunk]);
      this.#pump();
    });
  }

  connectDuplex(stream: Duplex): void {
    this.connect(stream, stream);
  }

  /** What to undo when it is closed. */
  onClose(undo: () => void): void {
    this.#closed.push(undo);
  }

  write(byte: number): void {
    this.#outgoing.push(byte & 0xff);
    // After the access is committed, and many bytes at once.
    this.#flushing ??= setImmediate(() => this.#flush());
  }

  onReceive(room: () => number, take: (byte: number) => void): void {
    this.#room = room;
    this.#take = take;
  }

  poll(): void {
    if (this.#waiting.length > 0) this.#polling ??= setImmediate(() => this.#pump());
  }

  close(): void {
    if (this.#polling !== null) clearImmediate(this.#polling);
    if (this.#flushing !== null) {
      clearImmediate(this.#flushing);
      this.#flush();
    }
    this.connect(null, null);
    for (const undo of this.#closed.splice(0)) undo();
  }

  #pump(): void {
    this.#polling = null;
    const count = Math.min(this.#room(), this.#waiting.length);
    if (count > 0) {
      const bytes = this.#waiting.subarray(0, count);
      this.#waiting = this.#waiting.subarray(count);
      this.#rights.host(() => {
        for (const byte of bytes) this.#take(byte);
      });
    }
    if (this.#waiting.length > 0) this.#source?.pause();
    else this.#source?.resume();
  }

  #flush(): void {
    this.#flushing = null;
    const bytes = Buffer.from(this.#outgoing);
    this.#outgoing = [];
    const sink = this.#sink;
    if (sink === null || sink.destroyed) return;
    const free = Math.max(0, MOST_WAITING - sink.writableLength);
    if (bytes.length > free) this.#rights.log.guest("output dropped: nobody takes it", { bytes: bytes.length - free });
    if (free > 0) sink.write(bytes.subarray(0, free));
  }
}
