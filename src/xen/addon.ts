// SPDX-License-Identifier: MIT
/** The native addon: native/addon, which says why each function is there. */

import { IoreqdError, messageOf } from "../base/errors.js";
import type { EvtchnPort } from "../base/ids.js";
import { ADDON_PATH } from "./libraries.js";

declare const poller: unique symbol;
interface PollerHandle {
  readonly [poller]: never;
}

export interface Addon {
  /**
   * Polls `fd` on this thread's loop. `onReadable` is called for as long as there is something to drain, a
   * failure included. Throws an Error with code EBADF or EINVAL when the fd cannot be polled.
   */
  pollStart(fd: number, onReadable: () => void): { poller: PollerHandle; ports: Uint32Array };
  pollStop(of: PollerHandle): void;
  /** Reads what is pending now: a count of port numbers in `ports`, or a negative errno (EPIPE at end of file). 0 once stopped. */
  pollDrain(of: PollerHandle): number;
  /** Sleeps up to `ms` until something can be drained (true) or the loop has something else to do (false). */
  pollSleep(of: PollerHandle, ms: number): boolean;
  pollRef(of: PollerHandle, alive: boolean): void;
  /** `library` as it was loaded, the address of a xenevtchn handle, the page of slots. Returns 0 or an errno. */
  publisher(library: string, handle: bigint, page: ArrayBuffer): (slot: number, port: EvtchnPort) => number;
  /** Publishers of this xenevtchn handle return EBADF from now on. Call it before closing the handle. */
  revoke(handle: bigint): void;
  /**
   * Takes the memory away from a buffer: its length becomes 0, views on it read undefined, publishers
   * of it return EBADF. Call it before unmapping.
   */
  detach(buffer: ArrayBuffer): void;
}

let loaded: Addon | undefined;

/** Throws ADDON_MISSING. */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  try {
    const addon = require(ADDON_PATH) as Addon;
    // V8 compiles accesses to typed arrays without a check for detachment until the first one happens, and
    // then throws that code away. Let it happen now, not at the first unmap in mid-flight.
    addon.detach(new ArrayBuffer(8));
    loaded = addon;
    return addon;
  } catch (error) {
    const advice = "build it with npm run build (needs cc and make), and see ioreqd doctor";
    throw new IoreqdError(
      "ADDON_MISSING",
      `cannot load ${ADDON_PATH}: ${messageOf(error)}; ${advice}`,
      { path: ADDON_PATH },
      { cause: error },
    );
  }
}
