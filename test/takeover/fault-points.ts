// SPDX-License-Identifier: MIT
/** Where faults.ts can end a device model. */

import { join } from "node:path";

/** On the way of a request, in the order in which it passes them. */
export const REQUEST_POINTS = [
  "before INPROCESS",
  "after INPROCESS",
  "after a store",
  "before commit",
  "after commit",
  "before IORESP_READY",
  "after IORESP_READY",
  "after notify",
  "before release",
] as const;
export const RING_POINTS = ["ring entry applied", "ring pointer moved"] as const;
export const XEN_POINTS = [
  "before a range is mapped",
  "after a range is mapped",
  "before a range is unmapped",
  "after a range is unmapped",
  "before a function is claimed",
  "after a function is claimed",
  "before a line is set",
  "after a line is set",
  "before a message",
  "after a message",
] as const;
/** Where it notes, outside of a transaction, how far it has come. */
export const NOTE_POINTS = [
  "before the ledger is written",
  "after the ledger is written",
  "after progress is noted",
  "after a late answer is noted",
  "after a late answer is committed",
  "after a late answer is given",
  "after a reply is noted",
  "after a message is settled",
] as const;
/** On the way of the first process. */
export const CREATION_POINTS = [
  "after the server is created",
  "before the server is enabled",
  "after the server is enabled",
] as const;
/** While a process takes over. */
export const TAKEOVER_POINTS = [
  "before recovery",
  "after recovery",
  "after the pages are mapped",
  "before a port is bound",
  "after a port is bound",
  "before a slot is resumed",
  "after a slot is resumed",
] as const;

export type FaultPoint =
  | (typeof REQUEST_POINTS)[number]
  | (typeof RING_POINTS)[number]
  | (typeof XEN_POINTS)[number]
  | (typeof NOTE_POINTS)[number]
  | (typeof CREATION_POINTS)[number]
  | (typeof TAKEOVER_POINTS)[number];

/** For the environment of a process that is to die when it comes to this point for the n-th time. */
export const dyingAt = (point: FaultPoint, nth = 1): NodeJS.ProcessEnv => ({
  NODE_OPTIONS: `--require=${join(__dirname, "faults.js")}`,
  IOREQD_FAULT: `${point}:${nth}`,
});
