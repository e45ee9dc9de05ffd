// SPDX-License-Identifier: MIT
/**
 * Bytes on their way in. No more is read than the device has room for, and what was read is the device's in the same
 * turn: the kernel keeps the rest, also while no process is there.
 *
 * From terminals and sockets they come exactly once. Each read is of one byte, straight into the arena, and the kernel
 * leaves a mark beside it within the same call: for a terminal the control byte of packet mode, for a socket the length
 * that recvmmsg(2) notes. Both were given a value before that the kernel never puts there, so a process that takes over
 * can tell whether the read happened. Standard input leaves no such mark: what one read of it brought, MOST bytes at
 * most, is lost with a process that dies between that read and the stores behind it.
 */

import { constants } from "node:os";
import type { ChardevState } from "../pci/chardev-state.js";
import type { DescriptorIo } from "./descriptor.js";

/** Bytes read at once; the FIFO of a 16550A has 16. */
const MOST = 64;
/** Reads in one turn of the event loop. */
const ROUNDS = 64;

export type SourceKind = "terminal" | "socket" | "plain";

export interface Source {
  readonly fd: number;
  /** A terminal is the master of a pseudo terminal, in packet mode. */
  readonly kind: SourceKind;
  whenReadable(act: (() => void) | null): void;
}

export interface InputRights {
  readonly io: DescriptorIo;
  host(work: () => void): void;
  /** There is no more, and why: 0 at the end of the stream, else a negative errno. The source is not used any more. */
  ended(result: number): void;
}

export class Input {
  readonly #state: ChardevState;
  readonly #rights: InputRights;
  readonly #bytes = new Uint8Array(MOST);
  #source: Source | null = null;
  #room: () => number = () => 0;
  #take: (byte: number) => void = () => {};
  #polling: NodeJS.Immediate | null = null;

  constructor(state: ChardevState, rights: InputRights) {
    this.#state = state;
    this.#rights = rights;
  }

  /** From now on bytes come from here. Null: none come. */
  connect(source: Source | null): void {
    this.#source?.whenReadable(null);
    this.#source = source;
    this.poll();
  }

  onReceive(room: () => number, take: (byte: number) => void): void {
    this.#room = room;
    this.#take = take;
    this.poll();
  }

  /** Room may have grown. */
  poll(): void {
    if (this.#source === null) return;
    this.#polling ??= setImmediate(() => {
      this.#polling = null;
      this.#pump();
    });
  }

  close(): void {
    this.connect(null);
    if (this.#polling !== null) clearImmediate(this.#polling);
  }

  readonly #pump = (): void => {
    for (let round = 0; this.#source !== null && round < ROUNDS; round += 1) {
      const room = this.#room();
      if (room <= 0) {
        this.#source.whenReadable(null);
        return;
      }
      const count = this.#read(this.#source, room);
      if (count > 0) continue;
      if (count !== -constants.errno.EAGAIN) {
        this.connect(null);
        this.#rights.ended(count);
        return;
      }
      break;
    }
    this.#source?.whenReadable(this.#pump);
  };

  /** Returns how many bytes were read, control bytes included; 0 at the end; or a negative errno. */
  #read({ fd, kind }: Source, room: number): number {
    const { io } = this.#rights;
    // A source of another kind may have left a byte to an earlier process.
    if (kind !== "plain" || this.#state.landed >= 0) return this.#readOne(fd, kind);
    const count = io.receive(fd, this.#bytes, 0, Math.min(room, MOST));
    if (count > 0) {
      this.#rights.host(() => {
        for (let i = 0; i < count; i += 1) this.#take(this.#bytes[i] as number);
      });
    }
    return count;
  }

  /** A byte that the process before had read, or the next. */
  #readOne(fd: number, kind: SourceKind): number {
    const state = this.#state;
    const { io } = this.#rights;
    if (state.landed < 0 && kind !== "plain") {
      state.arm(kind);
      const count =
        kind === "terminal"
          ? io.receive(fd, state.file, state.landing, 2)
          : io.receiveByte(fd, state.file, state.landingByte, state.header);
      if (count <= 0 || state.landed < 0) return count;
    }
    this.#rights.host(() => {
      this.#take(state.landed);
      state.take();
    });
    // A device that threw was undone. It would throw for ever.
    if (state.landed >= 0) this.#rights.host(() => state.take());
    return 1;
  }
}
