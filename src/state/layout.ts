// SPDX-License-Identifier: MIT
/**
 * Where everything lies in the arena, written down so that another process
 * (`ioreqd inspect`, a newer version) can read it by name.
 */

/** One named place: a register, or a field of declared state. */
export interface PlaceDescription {
  name: string;
  /** Byte offset from the start of the data area. */
  at: number;
  /** Bytes: 1, 2, 4 or 8 for a number; anything for a run of bytes. */
  width: number;
  kind: "register" | "number" | "bytes";
}

export interface GroupDescription {
  /** "config", "bar0", "rom", "state", "timers". */
  name: string;
  places: PlaceDescription[];
}

export interface DeviceDescription {
  /** "0000:00:10.0", behind a bridge "0000:00:1c.0/00.0". */
  path: string;
  device: string;
  groups: GroupDescription[];
}

export interface ArenaLayout {
  devices: DeviceDescription[];
}

/** Hands out places in the data area. Groups begin on 8-byte boundaries. */
export class LayoutBuilder {
  readonly layout: ArenaLayout = { devices: [] };
  #next = 0;

  /** Bytes handed out so far. */
  get length(): number {
    return this.#next;
  }

  device(path: string, device: string): DeviceDescription {
    const description: DeviceDescription = { path, device, groups: [] };
    this.layout.devices.push(description);
    return description;
  }

  /** Reserve `length` bytes for these places (offsets within the group); returns the group's offset in the data area. */
  group(device: DeviceDescription, name: string, length: number, places: readonly PlaceDescription[]): number {
    const at = this.#next;
    this.#next = (at + length + 7) & ~7;
    if (places.length > 0)
      device.groups.push({ name, places: places.map((place) => ({ ...place, at: at + place.at })) });
    return at;
  }

  toJSON(): string {
    return JSON.stringify(this.layout);
  }
}
