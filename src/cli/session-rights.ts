// SPDX-License-Identifier: MIT
/** What devices may use, made of what a session has. */

import { messageOf } from "../base/errors.js";
import { type ChardevBackend, openChardev } from "../chardev/index.js";
import type { Engine } from "../ioreq/engine.js";
import type { ForeignMemory } from "../memory/guest-memory.js";
import type { GuestEvents } from "../observe/guest-events.js";
import type { Logger } from "../observe/log.js";
import type { Chardev, DeviceLog, Dma } from "../pci/define.js";
import type { PciFunction } from "../pci/function.js";
import type { DeviceRights } from "../pci/rights.js";
import type { FfiAdapter } from "../xen/ffi/table.js";
import { openPty } from "../xen/pty.js";

export interface RightsParts {
  readonly ffi: FfiAdapter;
  readonly log: Logger;
  readonly events: GuestEvents;
  readonly memory: ForeignMemory;
  readonly engine: Engine;
}

/** A chardev of a function, as it was asked for, and what the other side opens where that was not said. */
export interface OpenChardev {
  readonly spec: string;
  readonly path: string | null;
}

export class SessionRights implements DeviceRights {
  readonly #parts: RightsParts;
  readonly #chardevs = new Map<PciFunction, Array<{ spec: string; backend: ChardevBackend }>>();

  constructor(parts: RightsParts) {
    this.#parts = parts;
  }

  host(work: () => void): void {
    this.#parts.engine.host(work);
  }

  dma(fn: PciFunction): Dma {
    const { memory } = this.#parts;
    return {
      read: (gpa, target) => fn.busMaster && memory.read(BigInt(gpa), target),
      write: (gpa, source) => fn.busMaster && memory.write(BigInt(gpa), source),
    };
  }

  log(fn: PciFunction): DeviceLog {
    const log = this.#parts.log.child({ device: fn.label });
    return {
      info: (fields, message) => log.info(fields, message),
      debug: (fields, message) => log.debug(fields, message),
      guest: (what, fields) => this.#parts.events.note(fn.label, what, fields),
    };
  }

  chardev(fn: PciFunction, spec: string): Chardev {
    const backend = openChardev(spec, {
      openPty: () => openPty(this.#parts.ffi),
      log: this.log(fn),
      host: (work) => this.host(work),
    });
    this.#chardevs.set(fn, [...(this.#chardevs.get(fn) ?? []), { spec, backend }]);
    return backend;
  }

  /** Those that go somewhere. */
  chardevsOf(fn: PciFunction): OpenChardev[] {
    return (this.#chardevs.get(fn) ?? [])
      .filter(({ spec }) => spec !== "null")
      .map(({ spec, backend }) => ({ spec, path: backend.path }));
  }

  release(fn: PciFunction): void {
    const open = this.#chardevs.get(fn) ?? [];
    this.#chardevs.delete(fn);
    for (const { spec, backend } of open) {
      try {
        backend.close();
      } catch (error) {
        this.#parts.log.warn({ chardev: spec, err: messageOf(error) }, "chardev not closed");
      }
    }
  }

  releaseAll(): void {
    for (const fn of [...this.#chardevs.keys()]) this.release(fn);
  }
}
