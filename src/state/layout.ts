// SPDX-License-Identifier: MIT
/**
 * Where everything lies in the arena, written down so that another process
 * (`ioreqd inspect`, a newer version) can read it by name.
 */

import { IoreqdError } from "../base/errors.js";
import { type Extent, firstFit, taken } from "./places.js";

/** One named place: a register, or a field of declared state. */
export interface PlaceDescription {
  name: string;
  /** Byte offset from the start of the data area. */
  at: number;
  /** Bytes: 1, 2, 4 or 8 for a number; anything for a run of bytes. */
  width: number;
  kind: "register" | "number" | "bytes";
}

/** What it names, and the bytes that are its own: nobody else has a place between them. */
export interface GroupDescription extends Extent {
  /** "config", "bar0", "rom", "state", "timers", "chardev.chardev". */
  name: string;
  places: PlaceDescription[];
}

export interface DeviceDescription {
  /** "0000:00:10.0", behind a bridge "0000:00:1c.0/00.0". */
  path: string;
  device: string;
  /** What the operator calls it, if anything. */
  id?: string;
  /** How it was asked for, so that the next process can make it again: a name or a module's path, and options. */
  spec?: DeviceRecipe;
  groups: GroupDescription[];
}

/** A device as an operator may write it, with its address. */
export interface DeviceRecipe {
  readonly device: string;
  readonly options: Readonly<Record<string, string | number>>;
}

export interface ArenaLayout {
  devices: DeviceDescription[];
  /** Host bridges with their windows, as the configuration gave them. */
  hosts?: unknown;
}

/** All bytes that a layout gives to somebody. */
export const extentsOf = (layout: ArenaLayout): Extent[] => layout.devices.flatMap(({ groups }) => groups);

/** Hands out places in the data area, the lowest that is free. Groups begin on 8-byte boundaries. */
export class LayoutBuilder {
  readonly layout: ArenaLayout;
  readonly #room: number;
  readonly #taken: Extent[];

  readonly #before: readonly DeviceDescription[];

  /**
   * Goes on from a layout, which stays as it is. `room`: bytes of the data area. With `again` its devices are to be
   * named anew, and what is the same as before keeps its place.
   */
  constructor(before: ArenaLayout = { devices: [] }, room = Number.POSITIVE_INFINITY, again = false) {
    this.layout = { ...before, devices: again ? [] : [...before.devices] };
    this.#before = again ? before.devices : [];
    this.#room = room;
    this.#taken = extentsOf(before);
  }

  /** Bytes of data there must be at least. */
  get length(): number {
    return this.#taken.reduce((end, { at, length }) => Math.max(end, at + length), 0);
  }

  device(path: string, device: string, id?: string, spec?: DeviceRecipe): DeviceDescription {
    const given = { ...(id === undefined ? {} : { id }), ...(spec === undefined ? {} : { spec }) };
    const description: DeviceDescription = { path, device, ...given, groups: [] };
    this.layout.devices.push(description);
    return description;
  }

  /**
   * Reserve `length` bytes for these places (offsets within the group); returns the group's offset in the data area.
   * Throws ARENA_FULL.
   */
  group(device: DeviceDescription, name: string, length: number, places: readonly PlaceDescription[]): number {
    if (length === 0) return 0;
    const kept = this.#before
      .find(({ path }) => path === device.path)
      ?.groups.find((group) => group.name === name && group.length === length && sameAs(group, places));
    if (kept !== undefined) {
      device.groups.push(kept);
      return kept.at;
    }
    const at = firstFit(this.#taken, length, this.#room);
    if (at === null) throw full(device, length, this.#room, taken(this.#taken));
    this.#taken.push({ at, length });
    device.groups.push({ name, at, length, places: places.map((place) => ({ ...place, at: at + place.at })) });
    return at;
  }

  toJSON(): string {
    const devices = this.layout.devices.toSorted((a, b) => (a.path < b.path ? -1 : 1));
    return JSON.stringify({ ...this.layout, devices });
  }
}

/** Are these a group's places, in the same order? Theirs are offsets within it. */
function sameAs(group: GroupDescription, places: readonly PlaceDescription[]): boolean {
  const moved = places.map((place) => ({ ...place, at: group.at + place.at }));
  return JSON.stringify(moved) === JSON.stringify(group.places);
}

function full({ device, path }: DeviceDescription, length: number, room: number, used: number): IoreqdError {
  return new IoreqdError(
    "ARENA_FULL",
    `${device} at ${path} needs ${length} bytes in one piece; of the state file's ${room} bytes ${used} are taken: remove another device first, or restart the guest with all its devices`,
    { device, needed: length, room, taken: used },
  );
}
