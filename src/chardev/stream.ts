// SPDX-License-Identifier: MIT
/** A chardev over descriptors: one for both ways, or one for each. */

import { constants } from "node:os";
import type { ChardevState } from "../pci/chardev-state.js";
import type { Chardev, DeviceLog } from "../pci/define.js";
import type { Descriptor, DescriptorIo, Keeper } from "./descriptor.js";
import { Input, type SourceKind } from "./input.js";
import { Output, type Sink } from "./output.js";

export interface ChardevRights {
  readonly log: DeviceLog;
  readonly io: DescriptorIo;
  readonly keeper: Keeper;
  /** The guest comes from elsewhere, perhaps from this host: who has the other end open there goes soon, or goes on. */
  readonly arriving: boolean;
  /** Run work as a transaction of its own: a byte that arrives changes the device. */
  host(work: () => void): void;
}

export interface ChardevBackend extends Chardev {
  /** What the other side opens, where that is not in its specification: "/dev/pts/3". */
  readonly path: string | null;
  close(): void;
}

/** What takes all and gives nothing. */
export const NOWHERE: ChardevBackend = {
  path: null,
  ready: true,
  write: () => {},
  onReady: () => {},
  onReceive: () => {},
  poll: () => {},
  close: () => {},
};

/** When a disk is full, milliseconds until it is tried again. */
const FULL_DISK_MS = 100;
const { EAGAIN, ENOSPC, EDQUOT } = constants.errno;

export class StreamChardev implements ChardevBackend {
  path: string | null = null;
  /** What to do when the input has ended, or when nobody takes output any more; `errno` is 0 at the end of a stream. */
  onEnd: (which: "input" | "output", errno: number) => void = () => {};
  readonly #io: DescriptorIo;
  readonly #output: Output;
  readonly #input: Input;
  readonly #closed: Array<() => void> = [];
  #sendErrno = 0;

  constructor({ log, io, host }: ChardevRights, state: ChardevState) {
    this.#io = io;
    this.#output = new Output(state, {
      host,
      overflowed: (bytes) => log.guest("output dropped: nobody takes it", { bytes }),
      lost: () => this.onEnd("output", this.#sendErrno),
    });
    this.#input = new Input(state, { io, host, ended: (result) => this.onEnd("input", -result) });
  }

  /** Where bytes come from and go to; null: no such way. `kind`: of the input. */
  connect(input: Descriptor | null, output: Descriptor | null, kind: SourceKind = "plain"): void {
    if (output !== null) this.#output.connect(this.#sink(output));
    this.#input.connect(input === null ? null : { fd: input.fd, kind, whenReadable: (act) => input.whenReadable(act) });
  }

  /** Nobody is there. */
  disconnect(): void {
    this.#output.disconnect();
    this.#input.connect(null);
  }

  /** What to undo when it is closed. */
  onClose(undo: () => void): void {
    this.#closed.push(undo);
  }

  write(byte: number): void {
    this.#output.write(byte);
  }

  get ready(): boolean {
    return this.#output.ready;
  }

  onReady(handler: () => void): void {
    this.#output.onReady(handler);
  }

  onReceive(room: () => number, take: (byte: number) => void): void {
    this.#input.onReceive(room, take);
  }

  poll(): void {
    this.#input.poll();
  }

  close(): void {
    this.#output.close();
    this.#input.close();
    for (const undo of this.#closed.splice(0)) undo();
  }

  #sink(descriptor: Descriptor): Sink {
    let full: NodeJS.Timeout | null = null;
    return {
      send: ({ file, at, size }, most) => {
        const count = this.#io.send(descriptor.fd, file, at, size, most);
        this.#sendErrno = -Math.min(count, 0);
        if (count >= 0) return count;
        return [EAGAIN, ENOSPC, EDQUOT].includes(this.#sendErrno) ? 0 : -1;
      },
      whenReady: (ready) => {
        if (full !== null) clearTimeout(full);
        full =
          ready !== null && this.#sendErrno !== 0 && this.#sendErrno !== EAGAIN
            ? setTimeout(ready, FULL_DISK_MS)
            : null;
        descriptor.whenWritable(full === null ? ready : null);
      },
    };
  }
}
