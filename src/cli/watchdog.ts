// SPDX-License-Identifier: MIT
/** Ends a process whose main thread hangs in a handler: native/addon/watchdog.c has how. */

import { url as inspectorUrl } from "node:inspector";
import type { Arena } from "../state/arena.js";
import { HEADER, RECORD, RECORD_COUNT, RECORD_WORDS, RECORDS_AT } from "../state/format.js";
import { loadAddon } from "../xen/addon.js";

/** Ms that one transaction may take, unless told. A handler takes microseconds. */
export const DEFAULT_WATCHDOG_MS = 2000;

/**
 * Watch this arena's transactions; returns what ends that. With `limitMs` 0, and while Node's inspector is open (at a
 * breakpoint a handler may well take its time), nobody watches. Throws ADDON_MISSING.
 */
export function watchTransactions(arena: Arena, limitMs: number): () => void {
  if (limitMs === 0 || inspectorUrl() !== undefined) return () => {};
  const addon = loadAddon();
  const buffer = arena.i32.buffer as ArrayBuffer;
  const phases = RECORDS_AT + RECORD.phase;
  const handle = addon.watchdogStart(buffer, phases, RECORD_WORDS, RECORD_COUNT, HEADER.transaction, limitMs);
  return () => addon.watchdogStop(handle);
}
