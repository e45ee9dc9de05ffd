// SPDX-License-Identifier: MIT
/** The directory of a domain that is served: its lock, and the state file in it. */

import { existsSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { hasCode, IoreqdError, messageOf } from "../base/errors.js";
import type { Teardown } from "../base/teardown.js";
import { Grants } from "../launch/grants.js";
import type { TreePlan } from "../pci/plan.js";
import { Arena, arenaSize, HEADER, RESERVE, SERVER_STATE } from "../state/arena.js";
import type { FfiAdapter } from "../xen/ffi/table.js";
import { lockFile } from "../xen/lock-file.js";
import { mapFile } from "../xen/map-file.js";

export const statePath = (stateDir: string, domid: number): string => join(stateDir, String(domid), "state");

/** What its devices may be made with: see src/launch/grants.ts. bin/ioreqd-stopped knows the name. */
export const grantsPath = (stateDir: string, domid: number): string => join(stateDir, String(domid), "granted");

export const controlPath = (stateDir: string, domid: number): string => join(stateDir, String(domid), "control");

/** Which domain, and where its directory is. */
export interface StatePlace {
  readonly stateDir: string;
  readonly domid: number;
}

/** The directory of a domain, which is this process's alone. */
export class StateFile {
  readonly #ffi: FfiAdapter;
  readonly #domid: number;
  readonly path: string;
  readonly grants: Grants;
  /** It is for another process: a guest goes on with it. */
  keep = false;

  /** `down` removes what is there, unless it is to be kept, and lets go. Throws DOMAIN_SERVED, STATE_FAILED. */
  constructor(ffi: FfiAdapter, place: StatePlace, down: Teardown) {
    this.#ffi = ffi;
    this.#domid = place.domid;
    this.path = statePath(place.stateDir, place.domid);
    this.grants = new Grants(grantsPath(place.stateDir, place.domid));
    const lock = this.#using(() => {
      const isNew = mkdirSync(dirname(this.path), { recursive: true, mode: 0o755 }) !== undefined;
      try {
        return lockFile(ffi, join(dirname(this.path), "lock"));
      } catch (error) {
        if (isNew) this.#removeDirectory();
        throw error;
      }
    });
    if (lock === null) throw this.#served();
    down.defer("let go of the state directory", () => {
      if (!this.keep) for (const path of [this.grants.path, lock.path]) remove(path);
      lock.release();
      if (!this.keep) this.#removeDirectory();
    });
  }

  /** What a process before this one left of a server; null when there is nothing. Throws ARENA_INVALID, STATE_FAILED. */
  left(): Arena | null {
    if (!existsSync(this.path)) return null;
    let buffer: ArrayBuffer;
    try {
      buffer = this.#using(() => mapFile(this.#ffi, this.path).buffer);
    } catch (error) {
      if (hasCode(error, "FILE_EMPTY")) return null;
      throw error;
    }
    // A process that died as it made the file had not asked Xen for anything.
    if (new Int32Array(buffer)[HEADER.magic] === 0) return null;
    const arena = Arena.open(buffer);
    return arena.header("serverState") === SERVER_STATE.none || arena.header("domid") !== this.#domid ? null : arena;
  }

  /** Make the file anew, with room for devices that come later; `down` removes it. Throws STATE_FAILED. */
  create({ dataLength, layout }: TreePlan, down: Teardown): Arena {
    down.defer("remove the state file", () => {
      if (!this.keep) remove(this.path);
    });
    const size = arenaSize(dataLength, layout, RESERVE);
    const { buffer } = this.#using(() => mapFile(this.#ffi, this.path, { create: size }));
    const arena = Arena.create(buffer, dataLength, layout, RESERVE);
    arena.setHeader("domid", this.#domid);
    arena.setHeader("pid", process.pid);
    return arena;
  }

  /** Go on with what was left. */
  takeOver(arena: Arena, down: Teardown): Arena {
    down.defer("remove the state file", () => {
      if (!this.keep) remove(this.path);
    });
    arena.setHeader("pid", process.pid);
    arena.setHeader("takeovers", arena.header("takeovers") + 1);
    return arena;
  }

  /** Nobody waits for what was left. */
  discard(): void {
    for (const path of [this.path, this.grants.path, join(dirname(this.path), "control")])
      rmSync(path, { force: true });
    this.keep = false;
  }

  /** What the file system refuses is the operator's to mend. */
  #using<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      const isOurs = error instanceof IoreqdError;
      const errno = isOurs ? error.details["errno"] : (error as NodeJS.ErrnoException).code;
      if (errno === undefined) throw error;
      throw new IoreqdError(
        "STATE_FAILED",
        `the state of domain ${this.#domid} needs ${dirname(this.path)}: ${messageOf(error)}`,
        { domid: this.#domid, path: this.path, errno },
        { cause: error },
      );
    }
  }

  #served(): IoreqdError {
    const pid = this.#holder();
    return new IoreqdError(
      "DOMAIN_SERVED",
      `domain ${this.#domid} is served by ${pid === null ? "another process" : `process ${pid}`} already; end it first, or choose another --state-dir`,
      { domid: this.#domid, pid },
    );
  }

  /** The process that holds the lock, if it has written that down yet. */
  #holder(): number | null {
    try {
      const file = mapFile(this.#ffi, this.path, { readonly: true });
      try {
        return Arena.open(file.buffer).header("pid");
      } finally {
        file.unmap();
      }
    } catch {
      return null;
    }
  }

  /** Unless somebody else needs it: to a unit it is a mount point, and systemd's to remove. */
  #removeDirectory(): void {
    try {
      rmdirSync(dirname(this.path));
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (!["EBUSY", "ENOTEMPTY", "ENOENT", "EACCES", "EPERM"].includes(code)) throw error;
    }
  }
}

/** A process that has given up root can't: then whoever supervises it removes the whole directory. */
function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!["EACCES", "EPERM"].includes(code)) throw error;
  }
}
