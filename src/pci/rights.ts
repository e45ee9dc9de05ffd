// SPDX-License-Identifier: MIT
/** What the world below gives a tree of devices: the server and the command line fill it in. */

import { IoreqdError, messageOf } from "../base/errors.js";
import type { Sbdf } from "../base/ids.js";
import type { Arena } from "../state/arena.js";
import { ChardevState } from "./chardev-state.js";
import type { Chardev, DeviceLog, Dma } from "./define.js";
import type { PciFunction } from "./function.js";
import type { FunctionPlan } from "./plan.js";

/** A line to the outside, as a device asks for it. */
export interface ChardevRequest {
  /** The option's name. */
  readonly option: string;
  /** What the operator wrote. */
  readonly spec: string;
  /** Null where the specification goes nowhere ("null"). */
  readonly state: ChardevState | null;
}

/** The state of a line outlives a reset of its function: what was sent is on its way. */
export function chardevRequest({ at, options }: FunctionPlan, arena: Arena, option: string): ChardevRequest {
  const place = at.chardevs[option];
  const state = place === undefined ? null : new ChardevState(arena, place);
  return { option, spec: String(options[option] ?? "null"), state };
}

/** Where rights of devices come from. */
export interface DeviceRights {
  dma(fn: PciFunction): Dma;
  log(fn: PciFunction): DeviceLog;
  chardev(fn: PciFunction, request: ChardevRequest): Chardev;
  /** Run work as a transaction of its own. `subject`: whose it is, PciFunction.subject. */
  host(work: () => void, subject?: number): void;
  /**
   * `to` is about to take the place of `from`, and goes on with its chardevs. Until `keep` nothing has changed for `from`;
   * `undo` closes what was opened for `to` alone.
   */
  replace(from: PciFunction, to: PciFunction): Replacement;
  /** The function has gone: close what was opened for it. */
  release(fn: PciFunction): void;
}

export interface Replacement {
  keep(): void;
  undo(): void;
}

/**
 * The rights of one function, for as long as it is there and lives. Its code may have work under way that outlives it, and
 * where its registers were another function's may be by then: that work happens nowhere.
 */
export function rightsWhile(there: () => boolean, rights: DeviceRights, subject: number): DeviceRights {
  return {
    dma: (fn) => {
      const dma = rights.dma(fn);
      return {
        read: (gpa, target) => there() && dma.read(gpa, target),
        write: (gpa, source) => there() && dma.write(gpa, source),
      };
    },
    log: (fn) => rights.log(fn),
    chardev: (fn, request) => rights.chardev(fn, request),
    host: (work) => {
      if (there()) rights.host(work, subject);
    },
    replace: (from, to) => rights.replace(from, to),
    release: (fn) => rights.release(fn),
  };
}

/** Device code is anybody's: what it throws is told with its name, as DEVICE_FAILED. */
export function tellingWhose(label: string, attach: () => void): void {
  try {
    attach();
  } catch (error) {
    if (error instanceof IoreqdError) throw error;
    const what = `${label}: its attach() failed: ${messageOf(error)}`;
    throw new IoreqdError("DEVICE_FAILED", what, {}, { cause: error });
  }
}

/** What a tree asks of the hypervisor. May throw IoreqdError; the tree counts and goes on. */
export interface PciHost {
  /** Throws SLOT_TAKEN where another device model of the guest has one of these functions. */
  refuseTaken(functions: readonly Sbdf[]): void;
  /** From now on accesses to this function's configuration space come to us. */
  mapFunction(sbdf: Sbdf): void;
  unmapFunction(sbdf: Sbdf): void;
  mapRange(space: "pio" | "mmio", first: number, last: number): void;
  unmapRange(space: "pio" | "mmio", first: number, last: number): void;
  /** Tell where a segment's ECAM window is, or that it has moved: Xen makes configuration requests of accesses there. */
  mapWindow(
    segment: number,
    window: { readonly base: number; readonly firstBus: number; readonly buses: number },
  ): void;
  unmapWindow(segment: number): void;
  /** pin 0 to 3, on bus 0. */
  setIntx(device: number, pin: number, asserted: boolean): void;
  /** A message-signalled interrupt: a write of 32 bits. Halves of the address and data are int32. Hot. */
  sendMessage(addressHi: number, addressLo: number, data: number): void;
  /** Something odd that the guest did with addresses or bus numbers. Told once, until it is otherwise. */
  noticed(what: string, fields: Record<string, unknown>): void;
  /** Something the hypervisor refused. */
  refused(what: string, error: unknown): void;
}
