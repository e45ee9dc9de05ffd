// SPDX-License-Identifier: MIT
/**
 * All that the devices of a guest know, as text that outlives file, host and
 * program version: places by name, with how each device is made.
 *
 * The first line says which format it is, and has length and SHA-256 of the
 * rest, which is one JSON object. A snapshot is taken whole or not at all: who
 * reads one has checked every byte before anything of it is used.
 */

import { IoreqdError } from "../base/errors.js";
import type { Arena } from "./arena.js";
import { HOST_RECORD, PHASE } from "./format.js";
import { type KeptDevice, type KeptPlace, keptOf, type Value } from "./kept.js";
import { readLayout } from "./read-layout.js";

/** Goes up when a program that reads the former would misunderstand it. */
export const SNAPSHOT_VERSION = 1;

/** A request that a device had not answered, or whose answer had not been given. */
export interface SavedRequest {
  readonly vcpu: number;
  readonly phase: "committed" | "deferred";
  /** Low and high half, int32. */
  readonly reply: readonly [number, number];
  /** Elements of a rep request that are done. */
  readonly progress: number;
}

export interface Snapshot {
  /** Version of ioreqd that wrote it: for people. */
  readonly program: string;
  /** The domain's, "" where nobody could tell. */
  readonly uuid: string;
  /** Host bridges with their windows, as the configuration gave them. */
  readonly hosts?: unknown;
  /** In `timers`, a deadline is the milliseconds that were left, as a double. */
  readonly devices: readonly KeptDevice[];
  readonly requests: readonly SavedRequest[];
}

/** Of an arena without an open transaction; of a process that has died: after recover(). `now`: ms of CLOCK_MONOTONIC. */
export function snapshotOf(arena: Arena, program: string, now: number): Snapshot {
  const layout = readLayout(arena.layout(), arena.dataLength);
  const requests = Array.from({ length: HOST_RECORD }, (_, vcpu) => ({ vcpu, ...arena.record(vcpu) }));
  if (arena.record(HOST_RECORD).phase === PHASE.executing || requests.some(({ phase }) => phase === PHASE.executing))
    throw new IoreqdError("STATE_UNSETTLED", "a request is being served: state is whole only between two of them");
  return {
    program,
    uuid: arena.uuid,
    ...(layout.hosts === undefined ? {} : { hosts: layout.hosts }),
    devices: layout.devices.map((device) => moveDeadlines(keptOf(arena, device), -now)),
    requests: requests.flatMap(({ vcpu, phase, replyLo, replyHi, progress }): SavedRequest[] => {
      if (phase === PHASE.idle) return [];
      const name = phase === PHASE.committed ? "committed" : "deferred";
      return [{ vcpu, phase: name, reply: [replyLo, replyHi], progress }];
    }),
  };
}

/**
 * The same of a guest of which no vCPU waits for an answer, as of any that is suspended: Xen lets none be that before
 * each has its answer. Throws REQUESTS_WAITING, STATE_UNSETTLED.
 */
export function settledSnapshot(arena: Arena, program: string, now: number): Snapshot {
  return refuseRequests(snapshotOf(arena, program, now));
}

/** Who waited for an answer is not there where it is taken up again. Throws REQUESTS_WAITING. */
export function refuseRequests(snapshot: Snapshot): Snapshot {
  if (snapshot.requests.length === 0) return snapshot;
  const vcpus = snapshot.requests.map(({ vcpu }) => vcpu).join(", ");
  throw new IoreqdError(
    "REQUESTS_WAITING",
    `a snapshot with requests that have no answer yet (vCPU ${vcpus}) can't be taken up again: take one of the guest suspended, or when the devices have answered`,
    { vcpus },
  );
}

/** Its devices as an arena would know them `now`, in ms of CLOCK_MONOTONIC: timers run on from where they were. */
export const devicesAt = (snapshot: Snapshot, now: number): KeptDevice[] =>
  snapshot.devices.map((device) => moveDeadlines(device, now));

function moveDeadlines(device: KeptDevice, by: number): KeptDevice {
  const timers = device.groups["timers"];
  if (timers === undefined) return device;
  const moved = Object.entries(timers).map(([name, place]): [string, KeptPlace] => {
    const { value } = place;
    // Without a deadline it is no timer that runs.
    if (!name.endsWith(".deadline") || value === 0n) return [name, place];
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, value as bigint);
    view.setFloat64(0, Math.max(LEAST_MS, view.getFloat64(0) + by));
    return [name, { ...place, value: view.getBigUint64(0) }];
  });
  return { ...device, groups: { ...device.groups, timers: Object.fromEntries(moved) } };
}

/** What was overdue is due at once, and still has a deadline. */
const LEAST_MS = 1e-3;

// -- as text ------------------------------------------------------------------------------------

const HEAD = /^\{"format":"ioreqd snapshot","version":(\d{1,9}),"length":(\d{1,10}),"sha256":"([0-9a-f]{64})"\}\n/;
/** Of the longest first line there is. */
const MOST_HEAD_BYTES = 160;

/** Loaded where there is a snapshot: it takes a tenth of a process's start. */
function digest(body: Uint8Array): string {
  const { createHash } = require("node:crypto") as typeof import("node:crypto");
  return createHash("sha256").update(body).digest("hex");
}

export function writeSnapshot(snapshot: Snapshot): Buffer {
  const devices = snapshot.devices.map((device) => ({ ...device, groups: mapPlaces(device.groups, shownPlace) }));
  const body = Buffer.from(`${JSON.stringify({ ...snapshot, devices })}\n`);
  const head = { format: "ioreqd snapshot", version: SNAPSHOT_VERSION, length: body.length, sha256: digest(body) };
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body]);
}

/** Throws SNAPSHOT_INVALID, SNAPSHOT_VERSION_UNKNOWN; what is returned is whole. */
export function readSnapshot(file: Uint8Array): Snapshot {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length);
  const found = HEAD.exec(bytes.toString("latin1", 0, MOST_HEAD_BYTES));
  if (found === null) throw invalid("its first line is not that of one");
  const [head, version, length, sha256] = found;
  if (Number(version) !== SNAPSHOT_VERSION) {
    throw new IoreqdError(
      "SNAPSHOT_VERSION_UNKNOWN",
      `the snapshot is of version ${version}, and this program reads ${SNAPSHOT_VERSION}: use the program that wrote it`,
      { version: Number(version) },
    );
  }
  const body = bytes.subarray(head.length);
  if (body.length !== Number(length)) throw invalid(`it says ${length} bytes and has ${body.length}`);
  if (digest(body) !== sha256) throw invalid("its checksum is another: it was changed after it was written");
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    throw invalid("it is not JSON");
  }
  // The schema library takes a while to load, and few processes read a snapshot.
  const { checkSnapshot } = require("./snapshot-schema.js") as typeof import("./snapshot-schema.js");
  const checked = checkSnapshot(value);
  if (checked.wrong !== undefined) throw invalid(checked.wrong);
  return checked.snapshot as Snapshot;
}

const invalid = (what: string): IoreqdError =>
  new IoreqdError("SNAPSHOT_INVALID", `not a usable snapshot: ${what}. Nothing of it was used`);

interface ShownPlace {
  readonly kind: KeptPlace["kind"];
  readonly width: number;
  /** Hex: a number, or bytes from the first on. */
  readonly value: string;
  readonly reset?: string;
  readonly writable?: string;
}

function shownPlace({ kind, width, value, reset, writable }: KeptPlace): ShownPlace {
  const isZero = typeof reset === "bigint" ? reset === 0n : reset.every((byte) => byte === 0);
  return {
    kind,
    width,
    value: hexOf(value),
    ...(isZero ? {} : { reset: hexOf(reset) }),
    ...(writable === 0n ? {} : { writable: hexOf(writable) }),
  };
}

const hexOf = (value: Value): string =>
  typeof value === "bigint" ? value.toString(16) : Buffer.from(value).toString("hex");

function mapPlaces<A, B>(
  groups: Readonly<Record<string, Readonly<Record<string, A>>>>,
  map: (place: A) => B,
): Record<string, Record<string, B>> {
  const places = (group: Readonly<Record<string, A>>) =>
    Object.fromEntries(Object.entries(group).map(([name, place]) => [name, map(place)]));
  return Object.fromEntries(Object.entries(groups).map(([name, group]) => [name, places(group)]));
}
