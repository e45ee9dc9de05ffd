// SPDX-License-Identifier: MIT
/** Lines to the outside that stay open while one function takes the place of another. */

import type { ChardevBackend } from "../chardev/index.js";
import type { Chardev } from "../pci/define.js";

export interface OpenBackend {
  readonly spec: string;
  readonly backend: ChardevBackend;
}

/** Chardevs of a function that another takes the place of: what comes in goes to the former until that is settled. */
export class ChardevsPassedOn {
  readonly taken: OpenBackend[] = [];
  readonly #left: OpenBackend[];
  readonly #connect: Array<() => void> = [];
  #kept = false;

  constructor(open: readonly OpenBackend[]) {
    this.#left = [...open];
  }

  /** One of this specification, if there is one left. */
  take(spec: string): Chardev | undefined {
    const at = this.#left.findIndex((one) => one.spec === spec);
    if (at < 0) return undefined;
    const [one] = this.#left.splice(at, 1) as [OpenBackend];
    this.taken.push(one);
    const { backend } = one;
    return {
      write: (byte) => backend.write(byte),
      get ready() {
        return backend.ready;
      },
      onReady: (handler) => {
        if (this.#kept) backend.onReady(handler);
        else this.#connect.push(() => backend.onReady(handler));
      },
      onReceive: (room, take) => {
        if (this.#kept) backend.onReceive(room, take);
        else this.#connect.push(() => backend.onReceive(room, take));
      },
      poll: () => backend.poll(),
    };
  }

  /** Returns those that nobody took. */
  keep(): OpenBackend[] {
    this.#kept = true;
    for (const connect of this.#connect) connect();
    for (const { backend } of this.taken) backend.poll();
    return this.#left;
  }
}
