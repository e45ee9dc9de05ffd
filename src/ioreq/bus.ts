// SPDX-License-Identifier: MIT
/** What the server asks of whatever stands above it. It never sees a device. */

import type { Access } from "../bus/access.js";

export interface Bus {
  readonly access: Access;
  /** Types as in src/spec; address as int32 halves; width 1, 2 or 4. Reads give int32 (width 4) or unsigned. */
  read(type: number, hi: number, lo: number, width: number): number;
  write(type: number, hi: number, lo: number, width: number, value: number): void;
  accepts8(type: number, hi: number, lo: number): boolean;
  /** Called after each commit: tell the hypervisor what followed. */
  flush(): void;
}

/** Guest memory by address. False when some of it is not there; nothing throws. */
export interface GuestMemory {
  read(gpa: bigint, target: Uint8Array): boolean;
  write(gpa: bigint, source: Uint8Array): boolean;
  /** The guest's memory map changed: forget what is mapped. */
  invalidate(): void;
}

/** The fields of a request, as it was posted. Source: Xen public/hvm/ioreq.h. */
export interface PostedRequest {
  readonly type: number;
  readonly flags: number;
  readonly hi: number;
  readonly lo: number;
  readonly width: number;
  readonly count: number;
  readonly dataLo: number;
  readonly dataHi: number;
}

/** Somebody who wants to see every access (verbose logs, a trace). Null costs one comparison. */
export interface AccessObserver {
  /** Before serving. `slot` -1: from the buffered ring. */
  begin(
    slot: number,
    type: number,
    flags: number,
    hi: number,
    lo: number,
    width: number,
    count: number,
    dataLo: number,
    dataHi: number,
  ): void;
  /** After the reply. `later`: it was not given at once. */
  end(slot: number, replyLo: number, replyHi: number, later: boolean): void;
}

/** Something of the guest's doing that an operator may want to know: counted, rate-limited. */
export type GuestEvent = (what: string, fields: Record<string, unknown>) => void;
