// SPDX-License-Identifier: MIT
/**
 * A chardev over a stream of bytes, with an end to what waits: input that the
 * device has no room for stops the source; for output see Output.
 */

import type { Readable } from "node:stream";
import type { Chardev, DeviceLog } from "../pci/define.js";
import { Output, type Sink } from "./output.js";

export interface ChardevRights {
  readonly log: DeviceLog;
  /** Run work as a transaction of its own: a byte that arrives changes the device. */
  host(work: () => void): void;
}

export interface ChardevBackend extends Chardev {
  /** What the other side opens, where that is not in its specification: "/dev/pts/3". */
  readonly path: string | null;
  close(): void;
}

export class StreamChardev implements ChardevBackend {
  path: string | null = null;
  readonly #rights: ChardevRights;
  readonly #output: Output;
  #source: Readable | null = null;
  #room: () => number = () => 0;
  #take: (byte: number) => void = () => {};
  /** Arrived, and not taken by the device yet: at most what a source gives at once. Outlives its sender. */
  #arrived: Buffer = Buffer.alloc(0);
  #polling: NodeJS.Immediate | null = null;
  readonly #closed: Array<() => void> = [];

  constructor(rights: ChardevRights) {
    this.#rights = rights;
    this.#output = new Output((bytes) => rights.log.guest("output dropped: nobody takes it", { bytes }));
  }

  /** From now on bytes come from here and go there. Null: nobody is there. */
  connect(source: Readable | null, sink: Sink | null): void {
    this.#source?.off("data", this.#onData);
    this.#source = source;
    this.#output.connect(sink);
    source?.on("data", this.#onData);
    if (this.#arrived.length > 0) source?.pause();
  }

  /** What to undo when it is closed. */
  onClose(undo: () => void): void {
    this.#closed.push(undo);
  }

  write(byte: number): void {
    this.#output.write(byte);
  }

  onReceive(room: () => number, take: (byte: number) => void): void {
    this.#room = room;
    this.#take = take;
  }

  poll(): void {
    if (this.#arrived.length > 0) this.#polling ??= setImmediate(() => this.#pump());
  }

  close(): void {
    if (this.#polling !== null) clearImmediate(this.#polling);
    this.#arrived = Buffer.alloc(0);
    this.#output.flush();
    this.connect(null, null);
    for (const undo of this.#closed.splice(0)) undo();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#arrived = this.#arrived.length === 0 ? chunk : Buffer.concat([this.#arrived, chunk]);
    this.#pump();
  };

  #pump(): void {
    this.#polling = null;
    const count = Math.min(this.#room(), this.#arrived.length);
    if (count > 0) {
      const bytes = this.#arrived.subarray(0, count);
      this.#arrived = this.#arrived.subarray(count);
      this.#rights.host(() => {
        for (const byte of bytes) this.#take(byte);
      });
    }
    if (this.#arrived.length > 0) this.#source?.pause();
    else this.#source?.resume();
  }
}
