// SPDX-License-Identifier: MIT
/** The native addon: native/addon, which says why each function is there. */

import { IoreqdError, messageOf } from "../base/errors.js";
import type { EvtchnPort } from "../base/ids.js";
import { ADDON_PATH } from "./libraries.js";

declare const poller: unique symbol;
interface PollerHandle {
  readonly [poller]: never;
}
declare const watcher: unique symbol;
export interface WatcherHandle {
  readonly [watcher]: never;
}

declare const watchdog: unique symbol;
interface WatchdogHandle {
  readonly [watchdog]: never;
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
   * Readiness of any descriptor, which becomes non-blocking. Nothing is watched for until watchFor() says what: 1 to
   * read, 2 to write. A descriptor that fails is ready for both. Throws an Error with code EPERM where the kernel
   * can't poll it (a regular file is always ready), EBADF or EINVAL.
   */
  watchStart(fd: number, ready: (events: number) => void): WatcherHandle;
  watchFor(of: WatcherHandle, events: number): void;
  watchStop(of: WatcherHandle): void;
  /**
   * Writes up to `most` bytes of the ring at `at` (src/pci/chardev-state.ts), one a write(2), each noted as sent behind its
   * write. Returns how many, or the negative errno that the first one met.
   */
  streamSend(fd: number, file: Uint8Array, at: number, size: number, most: number): number;
  /** One read(2). Returns how many bytes, 0 at the end of the stream, or a negative errno. */
  streamReceive(fd: number, into: Uint8Array, at: number, length: number): number;
  /**
   * One byte of a socket, to `at`; in the struct mmsghdr at `header` (64 bytes) the kernel notes that it came. Returns 1, 0 at
   * the end, or a negative errno.
   */
  socketReceive(fd: number, into: Uint8Array, at: number, header: number): number;
  /** Switches packet mode on: each read of a pseudo terminal's master begins with a control byte. Returns 0 or an errno. */
  ptyPackets(fd: number): number;
  /** One datagram with a descriptor. Returns 0 or an errno. */
  sendDescriptor(socket: number, text: Uint8Array, fd: number): number;
  /**
   * A thread of its own ends the process once it has seen one transaction execute for `limitMs`. Indices are of 32-bit
   * words: of the first record's phase, how many further on the next one is, and of the word that changes with each
   * transaction. The last record is that of work outside requests.
   */
  watchdogStart(
    memory: ArrayBuffer,
    phases: number,
    stride: number,
    records: number,
    transaction: number,
    limitMs: number,
  ): WatchdogHandle;
  /** Call it before the memory is unmapped. */
  watchdogStop(of: WatchdogHandle): void;
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
