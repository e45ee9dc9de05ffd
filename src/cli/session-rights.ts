// SPDX-License-Identifier: MIT
/** What devices may use, made of what a session has. */

import { messageOf } from "../base/errors.js";
import { type Keeper, openChardev } from "../chardev/index.js";
import type { Engine } from "../ioreq/engine.js";
import type { ForeignMemory } from "../memory/guest-memory.js";
import type { GuestEvents } from "../observe/guest-events.js";
import type { Logger } from "../observe/log.js";
import type { Chardev, DeviceLog, Dma } from "../pci/define.js";
import type { PciFunction } from "../pci/function.js";
import type { ChardevRequest, DeviceRights, Replacement } from "../pci/rights.js";
import { DescriptorStore, storeName } from "../xen/descriptor-store.js";
import { errnoName } from "../xen/errno.js";
import type { FfiAdapter } from "../xen/ffi/table.js";
import { openPtyLine } from "../xen/pty.js";
import { StreamIo } from "../xen/stream-io.js";
import { ChardevsPassedOn, type OpenBackend } from "./chardevs-passed-on.js";

export interface RightsParts {
  readonly ffi: FfiAdapter;
  readonly log: Logger;
  readonly events: GuestEvents;
  readonly memory: ForeignMemory;
  readonly engine: Engine;
  /** Terminals that outlive the process; without, they go with it. */
  readonly descriptors?: DescriptorStore | undefined;
  /** Whether devices that are made now come with a guest from elsewhere. */
  readonly arriving: () => boolean;
}

/** A chardev of a function, as it was asked for, and what the other side opens where that was not said. */
export interface OpenChardev {
  readonly spec: string;
  readonly path: string | null;
}

export class SessionRights implements DeviceRights {
  readonly #parts: RightsParts;
  readonly #io: StreamIo;
  readonly #descriptors: DescriptorStore;
  readonly #chardevs = new Map<PciFunction, OpenBackend[]>();
  readonly #replacements = new WeakMap<PciFunction, ChardevsPassedOn>();

  /** Throws ADDON_MISSING. */
  constructor(parts: RightsParts) {
    this.#parts = parts;
    this.#io = new StreamIo(parts.ffi);
    this.#descriptors = parts.descriptors ?? new DescriptorStore(null, {});
  }

  host(work: () => void, subject = 0): void {
    this.#parts.engine.host(work, subject);
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

  chardev(fn: PciFunction, { option, spec, state }: ChardevRequest): Chardev {
    const taken = this.#replacements.get(fn)?.take(spec);
    if (taken !== undefined) return taken;
    const backend = openChardev(
      spec,
      {
        openPty: (master, terminal) => openPtyLine(this.#parts.ffi, master, terminal),
        io: this.#io,
        keeper: this.#keeper(fn, option),
        arriving: this.#parts.arriving(),
        log: this.log(fn),
        host: (work: () => void) => this.host(work, fn.subject),
      },
      state,
    );
    this.#chardevs.set(fn, [...(this.#chardevs.get(fn) ?? []), { spec, backend }]);
    return backend;
  }

  #keeper(fn: PciFunction, option: string): Keeper {
    const store = this.#descriptors;
    const name = (end: string): string => storeName(fn.plan.path, option, end);
    return {
      take: (end) => store.take(name(end)),
      keep: (end, fd) => {
        const errno = store.keep(name(end), fd);
        if (errno === 0) return;
        this.#parts.log.warn({ device: fn.label, errno: errnoName(errno), end }, "the supervisor keeps no descriptor");
      },
      forget: (end) => store.forget(name(end)),
      get leaving() {
        return store.leaving;
      },
    };
  }

  replace(from: PciFunction, to: PciFunction): Replacement {
    const replacement = new ChardevsPassedOn(this.#chardevs.get(from) ?? []);
    this.#replacements.set(to, replacement);
    return {
      keep: () => {
        const left = replacement.keep();
        this.#chardevs.set(to, [...replacement.taken, ...(this.#chardevs.get(to) ?? [])]);
        this.#chardevs.set(from, left);
        this.release(from);
      },
      undo: () => this.release(to),
    };
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

  /** Another process goes on: what releaseAll() closes from now on is still kept for it. */
  leave(): void {
    this.#descriptors.leave();
  }

  releaseAll(): void {
    for (const fn of [...this.#chardevs.keys()]) this.release(fn);
    this.#descriptors.forgetAll();
  }
}
