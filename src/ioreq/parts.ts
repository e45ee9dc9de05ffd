// SPDX-License-Identifier: MIT
/** What the engine is made of, for itself and for the rooms beside it. */

import type { Arena } from "../state/arena.js";
import type { Bus, GuestEvent, GuestMemory } from "./bus.js";
import type { Counters } from "./counters.js";

export interface EngineParts {
  /** struct shared_iopage. */
  readonly page: ArrayBuffer;
  readonly arena: Arena;
  readonly bus: Bus;
  readonly memory: GuestMemory;
  readonly counters: Counters;
  /** Store IORESP_READY in the slot and notify its vCPU. */
  readonly publish: (slot: number) => void;
  readonly notify: (slot: number) => void;
  readonly guestEvent: GuestEvent;
}

/** Bits of an answer, as two int32. */
export interface Known {
  readonly lo: number;
  readonly hi: number;
}
