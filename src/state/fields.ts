// SPDX-License-Identifier: MIT
/**
 * Declared state: what a device knows besides its registers. Every field has
 * its place in the arena, so it survives the process as registers do.
 */

import type { Arena } from "./arena.js";
import type { PlaceDescription } from "./layout.js";

/** A number of 32 bits (int32), or a run of bytes. */
export type FieldRow = "int32" | { readonly bytes: number };
export type FieldRows = Readonly<Record<string, FieldRow>>;

/** A run of bytes in the arena. Positions outside read as 0 and are not written. */
export class BytesField {
  readonly length: number;
  readonly #arena: Arena;
  readonly #at: number;

  constructor(arena: Arena, at: number, length: number) {
    this.#arena = arena;
    this.#at = at;
    this.length = length;
  }

  get(index: number): number {
    return index >= 0 && index < this.length ? (this.#arena.u8[this.#at + index] as number) : 0;
  }

  set(index: number, value: number): void {
    if (index >= 0 && index < this.length) this.#arena.store(this.#at + index, 1, value);
  }

  /** Copy out `target.length` bytes from `index` on; what lies outside is 0. */
  read(index: number, target: Uint8Array): void {
    for (let i = 0; i < target.length; i += 1) target[i] = this.get(index + i);
  }

  /** Copy `source` in at `index`. */
  write(index: number, source: Uint8Array): void {
    for (let i = 0; i < source.length; i += 1) this.set(index + i, source[i] as number);
  }
}

export type FieldsOf<F> = { -readonly [K in keyof F]: F[K] extends "int32" ? number : BytesField };

/** Where each field goes within its group, and how long the group is. Bytes. */
export function placeFields(rows: FieldRows): { places: PlaceDescription[]; length: number } {
  let at = 0;
  const places = Object.entries(rows).map(([name, row]): PlaceDescription => {
    const width = row === "int32" ? 4 : row.bytes;
    const place: PlaceDescription = { name, at, width, kind: row === "int32" ? "number" : "bytes" };
    at = (at + width + 3) & ~3;
    return place;
  });
  return { places, length: at };
}

/** The fields as properties: numbers are read and written in the arena. `at`: byte offset in the file. */
export function fieldsOf(rows: FieldRows, arena: Arena, at: number): Record<string, number | BytesField> {
  const fields: Record<string, number | BytesField> = {};
  for (const place of placeFields(rows).places) {
    const word = (at + place.at) >>> 2;
    if (place.kind === "bytes") {
      fields[place.name] = new BytesField(arena, at + place.at, place.width);
      continue;
    }
    Object.defineProperty(fields, place.name, {
      enumerable: true,
      get: () => arena.i32[word] as number,
      set: (value: number) => arena.setWord(word, value | 0),
    });
  }
  return Object.freeze(fields);
}
