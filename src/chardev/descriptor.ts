// SPDX-License-Identifier: MIT
/** A descriptor that somebody reads and writes by hand, when it is ready: the kernel keeps what we have no room for. */

import { closeSync } from "node:fs";

const READABLE = 1;
const WRITABLE = 2;

/** What Node.js can't do with a descriptor; src/xen/stream-io.ts does it. Calls return a negative errno when they fail. */
export interface DescriptorIo {
  /** Null where the kernel can't poll it: a regular file is always ready. Throws fs-like errors. */
  watch(fd: number, ready: (events: number) => void): { events(events: number): void; stop(): void } | null;
  /** See Addon.streamSend. */
  send(fd: number, file: Uint8Array, at: number, size: number, most: number): number;
  receive(fd: number, into: Uint8Array, at: number, length: number): number;
  /** See Addon.socketReceive. */
  receiveByte(fd: number, into: Uint8Array, at: number, header: number): number;
  /** A unix socket that listens. Throws XEN_CALL_FAILED naming the function of libc. */
  listen(path: string): number;
  /** A connection. */
  accept(fd: number): number;
  /** Whether the peer of a connection is gone in both directions. */
  hungUp(fd: number): boolean;
}

/** Descriptors that outlive the process, where there is a supervisor that keeps them. `end`: which one of a chardev's. */
export interface Keeper {
  /** What an earlier process had kept: ours now. */
  take(end: string): number | null;
  keep(end: string, fd: number): void;
  forget(end: string): void;
  /** This process goes, and another comes: what it is to find stays, a socket's path as well. */
  readonly leaving: boolean;
}

export class Descriptor {
  readonly fd: number;
  readonly #watch: ReturnType<DescriptorIo["watch"]>;
  #readable: (() => void) | null = null;
  #writable: (() => void) | null = null;
  #watched = 0;
  #dispatching = false;
  #immediate: NodeJS.Immediate | null = null;
  #open = true;

  /** It is the caller's until this returns, and ours from then on. Throws fs-like errors. */
  constructor(io: DescriptorIo, fd: number) {
    this.fd = fd;
    this.#watch = io.watch(fd, (events) => this.#ready(events));
  }

  /** Call this, once, when it can be read; null: never. */
  whenReadable(act: (() => void) | null): void {
    this.#readable = act;
    this.#sync();
  }

  /** Call this, once, when it can be written; null: never. */
  whenWritable(act: (() => void) | null): void {
    this.#writable = act;
    this.#sync();
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#readable = null;
    this.#writable = null;
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#watch?.stop();
    // Those of standard input and output stay: what is opened next would get their numbers.
    if (this.fd > 2) closeSync(this.fd);
  }

  #ready(events: number): void {
    const readable = (events & READABLE) !== 0 ? this.#readable : null;
    const writable = (events & WRITABLE) !== 0 ? this.#writable : null;
    if (readable !== null) this.#readable = null;
    if (writable !== null) this.#writable = null;
    // What is wanted again at once stays watched: telling the kernel twice would be two system calls.
    this.#dispatching = true;
    try {
      readable?.();
      writable?.();
    } finally {
      this.#dispatching = false;
      this.#sync();
    }
  }

  #sync(): void {
    if (this.#dispatching || !this.#open) return;
    const wanted = (this.#readable === null ? 0 : READABLE) | (this.#writable === null ? 0 : WRITABLE);
    if (this.#watch === null) {
      if (wanted === 0 || this.#immediate !== null) return;
      this.#immediate = setImmediate(() => {
        this.#immediate = null;
        this.#ready(READABLE | WRITABLE);
      });
    } else if (wanted !== this.#watched) {
      this.#watched = wanted;
      this.#watch.events(wanted);
    }
  }
}
