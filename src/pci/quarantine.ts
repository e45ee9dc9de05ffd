// SPDX-License-Identifier: MIT
/**
 * Functions whose code ended a process again and again: out of the guest's
 * reach until an operator says otherwise, so that the rest of the guest goes on.
 *
 * Its accesses still come to us, for nobody else shall have them, and read as
 * all-ones. What is behind a bridge in quarantine can't be reached either,
 * but lives: its timers run, its messages wait.
 */

import { IoreqdError, messageOf } from "../base/errors.js";
import { type Arena, HOST_RECORD, PHASE } from "../state/arena.js";
import type { PciFunction } from "./function.js";
import type { DeviceRights } from "./rights.js";
import type { PciTree } from "./tree.js";

export class Quarantine {
  readonly #tree: PciTree;
  readonly #arena: Arena;
  readonly #rights: DeviceRights;

  constructor(tree: PciTree, arena: Arena, rights: DeviceRights) {
    this.#tree = tree;
    this.#arena = arena;
    this.#rights = rights;
  }

  /**
   * From now on it reads as all-ones and takes nothing, also in the processes after this one; its line is low, its code
   * does not run. Between transactions; the hypervisor hears of it with the next flush().
   */
  put(fn: PciFunction): void {
    fn.state.quarantine();
    fn.timers.detach();
    this.#tree.set(this.#tree.functions);
    fn.abandonLate(this.#tree.access);
  }

  /**
   * Let it live again, as after power-on, and so what is behind it. Throws NOT_QUARANTINED, DEVICE_FAILED, what its chardevs
   * throw; then it stays where it is.
   */
  revive(fn: PciFunction): void {
    if (!fn.state.quarantined) {
      throw new IoreqdError("NOT_QUARANTINED", `${fn.label} is not in quarantine: there is nothing to revive`, {
        path: fn.plan.path,
      });
    }
    this.#arena.beginHost(fn.subject);
    try {
      fn.state.forgive();
      fn.resetFunction();
      fn.resetBehind();
      fn.attach(this.#rights);
      this.#arena.commit(PHASE.committed, 0, 0);
      this.#arena.release(HOST_RECORD);
    } catch (error) {
      this.#arena.rollback();
      this.#rights.release(fn);
      if (error instanceof IoreqdError) throw error;
      const what = `${fn.label}: its attach() failed: ${messageOf(error)}; it stays in quarantine`;
      throw new IoreqdError("DEVICE_FAILED", what, {}, { cause: error });
    }
    this.#tree.set(this.#tree.functions);
    this.#tree.flush();
  }
}
