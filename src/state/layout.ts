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
  /** What it holds after reset, in hex: a number, or bytes from the first on. Zeroes where it is left out. */
  reset?: string;
  /** Of a register: the bits that the guest changes by writing, in hex; none where it is left out. */
  writable?: string;
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
   * Goes on from a layout, which stays as it is. `room`: bytes of the data area. Its devices for which `again` holds
   * are to be named anew: a group whose places are the same as before stays where it is, any other gets a new one, and
   * what it had before is not given to anybody yet.
   */
  constructor(
    before: ArenaLayout = { devices: [] },
    room = Number.POSITIVE_INFINITY,
    again: (path: string) => boolean = () => false,
  ) {
    this.#before = before.devices.filter(({ path }) => again(path));
    this.layout = { ...before, devices: before.devices.filter(({ path }) => !again(path)) };
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
    const at = kept?.at ?? firstFit(this.#taken, length, this.#room);
    if (at === null) throw full(device, length, this.#room, taken(this.#taken));
    if (kept === undefined) this.#taken.push({ at, length });
    device.groups.push({ name, at, length, places: places.map((place) => ({ ...place, at: at + place.at })) });
    return at;
  }

  toJSON(): string {
    const devices = this.layout.devices.toSorted((a, b) => (a.path < b.path ? -1 : 1));
    return JSON.stringify({ ...this.layout, devices });
  }
}

/** Do these lie in a group as its own do? Theirs are offsets within it. */
function sameAs(group: GroupDescription, places: readonly PlaceDescription[]): boolean {
  const shape = (list: readonly PlaceDescription[], from: number): string =>
    JSON.stringify(list.map(({ name, at, width, kind }) => [name, at - from, width, kind]));
  return shape(places, 0) === shape(group.places, group.at);
}

function full({ device, path }: DeviceDescription, length: number, room: number, used: number): IoreqdError {
  return new IoreqdError(
    "ARENA_FULL",
    `${device} at ${path} needs ${length} bytes in one piece; of the state file's ${room} bytes ${used} are taken: remove another device first, or restart the guest with all its devices`,
    { device, needed: length, room, taken: used },
  );
}
