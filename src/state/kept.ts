// SPDX-License-Identifier: MIT
/**
 * What devices know, by name instead of by place: how state comes from the
 * table that it was written with to the one that is to go on with it.
 *
 * A place that both have, of the same kind and width, keeps its value. What
 * only the new table has begins at its reset value. Anything else would lose
 * something, and is refused, unless nothing is lost (the place held its reset
 * value) or the device's `upgrade` says what becomes of it.
 */

import { IoreqdError, messageOf } from "../base/errors.js";
import type { Arena } from "./arena.js";
import type { DeviceDescription, DeviceRecipe, PlaceDescription } from "./layout.js";

/** A number, unsigned whatever it means to the device; or a run of bytes. */
export type Value = bigint | Uint8Array;
/** All that a device knows: by "bar0.LIVE", "state.count", "timers.late.running". */
export type NamedValues = Readonly<Record<string, Value>>;
/** From values of an older (or newer) table to those of this one. What it leaves out is dropped, or at its reset value. */
export type Upgrade = (old: NamedValues) => NamedValues;

export interface KeptPlace {
  readonly kind: PlaceDescription["kind"];
  /** Bytes. */
  readonly width: number;
  readonly value: Value;
  readonly reset: Value;
  /** Bits of a register that the guest changes by writing. */
  readonly writable: bigint;
}

/** The state of one device, and how it can be made again. */
export interface KeptDevice {
  readonly path: string;
  readonly device: string;
  readonly id?: string;
  readonly spec?: DeviceRecipe;
  /** Groups of places, as the layout has them. */
  readonly groups: Readonly<Record<string, Readonly<Record<string, KeptPlace>>>>;
}

/** Bytes that are to stand from `at` on, an offset in the data area. */
export interface Contents {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** What an arena knows of a device. */
export function keptOf(arena: Arena, device: DeviceDescription): KeptDevice {
  const { path, id, spec, groups } = device;
  const given = { ...(id === undefined ? {} : { id }), ...(spec === undefined ? {} : { spec }) };
  const entries = groups.map(({ name, places }) => {
    const kept = Object.fromEntries(places.map((place) => [place.name, keptPlace(arena, place)]));
    return [name, name === "timers" ? settled(kept) : kept] as const;
  });
  return { path, device: device.device, ...given, groups: Object.fromEntries(entries) };
}

function keptPlace(arena: Arena, place: PlaceDescription): KeptPlace {
  const { kind, width } = place;
  const at = arena.dataAt + place.at;
  const bytes = arena.u8.slice(at, at + width);
  const value = kind === "bytes" ? bytes : numberOf(bytes);
  return { kind, width, value, reset: resetOf(place), writable: BigInt(`0x${place.writable ?? "0"}`) };
}

/** A timer that does not run has no deadline, whatever stands there. */
function settled(timers: Record<string, KeptPlace>): Record<string, KeptPlace> {
  const runs = (deadline: string): boolean => timers[deadline.replace(/deadline$/, "running")]?.value !== 0n;
  return Object.fromEntries(
    Object.entries(timers).map(([name, place]) => [
      name,
      name.endsWith(".deadline") && !runs(name) ? { ...place, value: 0n } : place,
    ]),
  );
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

export function bytesOf(value: Value, width: number): Uint8Array {
  const bytes = new Uint8Array(width);
  if (typeof value !== "bigint") bytes.set(value);
  else for (let i = 0; i < width; i += 1) bytes[i] = Number((value >> BigInt(8 * i)) & 0xffn);
  return bytes;
}

export function resetOf({ kind, width, reset }: Pick<PlaceDescription, "kind" | "width" | "reset">): Value {
  if (kind !== "bytes") return BigInt(`0x${reset ?? "0"}`);
  return bytesOf(Buffer.from(reset ?? "", "hex"), width);
}

const isSame = (a: Value, b: Value): boolean =>
  typeof a === "bigint" || typeof b === "bigint" ? a === b : Buffer.compare(a, b) === 0;

const isAtReset = ({ value, reset }: KeptPlace): boolean => isSame(value, reset);

/**
 * What is to stand in the groups of `after` so that the device goes on with what it knew.
 * Throws STATE_INCOMPATIBLE, naming the place, for what the table can't take.
 */
export function contentsFor(before: KeptDevice, after: DeviceDescription, upgrade?: Upgrade): Contents[] {
  const refuse = (what: string): IoreqdError => incompatible(after, what);
  if (before.device !== after.device) throw refuse(`the state there is of ${before.device}`);
  const known = new Map<string, KeptPlace>();
  for (const [group, places] of Object.entries(before.groups)) {
    for (const [name, place] of Object.entries(places)) known.set(`${group}.${name}`, place);
  }
  const wanted = new Map<string, PlaceDescription>();
  for (const { name: group, places } of after.groups) {
    for (const place of places) wanted.set(`${group}.${place.name}`, place);
  }
  const values = new Map<string, Value>();
  if (upgrade === undefined || hasSameShape(known, wanted)) {
    for (const [key, place] of known) {
      const to = wanted.get(key);
      if (to !== undefined) values.set(key, carried(key, place, to, refuse));
      else if (!isAtReset(place)) throw refuse(`it has no ${key} any more, and that holds ${shown(place.value)}`);
    }
  } else {
    for (const [key, value] of Object.entries(upgraded(upgrade, known, refuse))) {
      const to = wanted.get(key);
      const place = known.get(key);
      const isAsBefore = place !== undefined && isSame(place.value, value);
      // Passed on with all the rest; without it nothing would be lost.
      if (to === undefined && isAsBefore && isAtReset(place)) continue;
      if (to === undefined) throw refuse(`its upgrade() gives ${key}, which the table does not have`);
      const untouched = isAsBefore && isOfShape(place, to);
      values.set(key, untouched ? carried(key, place, to, refuse) : checked(key, value, to, refuse));
    }
  }
  return after.groups.map((group) => {
    const bytes = new Uint8Array(group.length);
    for (const place of group.places) {
      const value = values.get(`${group.name}.${place.name}`) ?? resetOf(place);
      bytes.set(bytesOf(value, place.width), place.at - group.at);
    }
    return { at: group.at, bytes };
  });
}

/** Make it so. Within a transaction. */
export function put(arena: Arena, { at, bytes }: Contents): void {
  const from = arena.dataAt + at;
  for (const [i, byte] of bytes.entries()) if (arena.u8[from + i] !== byte) arena.store(from + i, 1, byte);
}

type Refuse = (what: string) => IoreqdError;

const isOfShape = (place: KeptPlace, to: PlaceDescription): boolean =>
  place.kind === to.kind && place.width === to.width;

function hasSameShape(known: ReadonlyMap<string, KeptPlace>, wanted: ReadonlyMap<string, PlaceDescription>): boolean {
  if (known.size !== wanted.size) return false;
  return [...known].every(([key, place]) => {
    const to = wanted.get(key);
    return to !== undefined && isOfShape(place, to);
  });
}

/** The value of a place that both tables have. */
function carried(key: string, place: KeptPlace, to: PlaceDescription, refuse: Refuse): Value {
  if (place.kind !== to.kind) throw refuse(`${key} was ${nounOf[place.kind]} and is ${nounOf[to.kind]}`);
  if (typeof place.value !== "bigint") {
    if (place.width > to.width) throw refuse(`${key} had ${place.width} bytes and has ${to.width}`);
    return isAtReset(place) ? resetOf(to) : place.value;
  }
  if (place.width !== to.width) throw refuse(`${key} was ${place.width} bytes wide and is ${to.width}`);
  return place.kind === "register" ? carriedRegister(key, place, place.value, to, refuse) : place.value;
}

/**
 * Bits that the guest can't write are the table's, if the device has not changed them: ids, capabilities and how they
 * are linked follow the new table. All others are state.
 */
function carriedRegister(key: string, place: KeptPlace, value: bigint, to: PlaceDescription, refuse: Refuse): bigint {
  const reset = place.reset as bigint;
  const writable = BigInt(`0x${to.writable ?? "0"}`);
  const stuck = (value ^ reset) & place.writable & ~writable;
  if (stuck !== 0n) throw refuse(`the guest can't write bits ${shown(stuck)} of ${key} any more, and it has`);
  const fixed = ~writable;
  if (((value ^ reset) & fixed) !== 0n) return value;
  return (value & writable) | ((resetOf(to) as bigint) & fixed);
}

function upgraded(upgrade: Upgrade, known: ReadonlyMap<string, KeptPlace>, refuse: Refuse): NamedValues {
  try {
    return upgrade(Object.fromEntries([...known].map(([key, { value }]) => [key, value])));
  } catch (error) {
    throw refuse(`its upgrade() failed: ${messageOf(error)}`);
  }
}

/** What upgrade() gives for a place: anything that fits there. A negative number is taken as the device would store it. */
function checked(key: string, value: unknown, to: PlaceDescription, refuse: Refuse): Value {
  if (to.kind === "bytes") {
    if (!(value instanceof Uint8Array)) throw refuse(`its upgrade() gives ${typeof value} for ${key}, which is bytes`);
    if (value.length > to.width) throw refuse(`its upgrade() gives ${value.length} bytes for ${key}, of ${to.width}`);
    return value;
  }
  if (typeof value !== "bigint") throw refuse(`its upgrade() gives ${typeof value} for ${key}; a bigint was expected`);
  const bits = to.width * 8;
  if (BigInt.asIntN(bits, value) !== value && BigInt.asUintN(bits, value) !== value)
    throw refuse(`its upgrade() gives ${shown(value)} for ${key}, of ${to.width} bytes`);
  return BigInt.asUintN(bits, value);
}

const nounOf = { register: "a register", number: "a number", bytes: "a run of bytes" } as const;

const shown = (value: Value): string => {
  if (typeof value === "bigint") return `0x${value.toString(16)}`;
  return `${value.length} bytes`;
};

export function incompatible({ device, path }: { device: string; path: string }, what: string): IoreqdError {
  return new IoreqdError(
    "STATE_INCOMPATIBLE",
    `${device} at ${path} can't go on with the state it has: ${what}. Give its table an upgrade(), or start the program and table that wrote the state`,
    { path, device },
  );
}
