// SPDX-License-Identifier: MIT
/**
 * The layout of a state file, which is text that anything may have written into: it is believed only where every place
 * lies within its group, every group within the data, and no two groups share a byte.
 */

import { IoreqdError } from "../base/errors.js";
import type { ArenaLayout, GroupDescription } from "./layout.js";

const WIDTHS = [1, 2, 4, 8];
const KINDS = ["register", "number", "bytes"];

/** `dataLength`: bytes of the data area. Throws ARENA_INVALID. */
export function readLayout(text: string, dataLength: number): ArenaLayout {
  let layout: unknown;
  try {
    layout = JSON.parse(text);
  } catch {
    throw invalid("it is no JSON");
  }
  const devices = list(field(layout, "devices"), "its devices");
  const groups = devices.flatMap((device) => {
    for (const name of ["path", "device"]) must(typeof field(device, name) === "string", `a device has no ${name}`);
    const id = field(device, "id");
    must(id === undefined || typeof id === "string", "the id of a device is no text");
    return list(field(device, "groups"), "the groups of a device");
  });
  for (const group of groups) checkGroup(group, dataLength);
  checkDisjoint(groups as GroupDescription[]);
  return layout as ArenaLayout;
}

function checkGroup(group: unknown, dataLength: number): void {
  const name = field(group, "name");
  must(typeof name === "string", "a group has no name");
  const of = String(name);
  const [at, length] = [offset(field(group, "at"), of), offset(field(group, "length"), of)];
  must(at + length <= dataLength, `${of} is at ${at}, ${length} bytes, and there are ${dataLength}`);
  for (const place of list(field(group, "places"), `the places of ${of}`)) {
    must(typeof field(place, "name") === "string", `a place of ${of} has no name`);
    const [first, width] = [offset(field(place, "at"), of), offset(field(place, "width"), of)];
    must(first >= at && first + width <= at + length, `a place of ${of} is at ${first}, outside of it`);
    const kind = field(place, "kind");
    must(KINDS.includes(String(kind)), `a place of ${of} is of kind ${String(kind)}`);
    for (const hex of [field(place, "reset"), field(place, "writable")])
      must(
        hex === undefined || /^[0-9a-f]+$/.test(String(hex)),
        `a place of ${of} has ${String(hex).slice(0, 20)} where hex should be`,
      );
    must(kind === "number" ? WIDTHS.includes(width) : width > 0, `a place of ${of} has ${width} bytes`);
  }
}

function checkDisjoint(groups: readonly GroupDescription[]): void {
  const inOrder = groups.toSorted((a, b) => a.at - b.at);
  inOrder.forEach(({ name, at }, index) => {
    const before = inOrder[index - 1];
    must(before === undefined || before.at + before.length <= at, `${name} and ${before?.name} share bytes`);
  });
}

function field(value: unknown, name: string): unknown {
  must(typeof value === "object" && value !== null, `where ${name} should be there is no object`);
  return (value as Record<string, unknown>)[name];
}

function list(value: unknown, what: string): readonly unknown[] {
  must(Array.isArray(value), `${what} are no list`);
  return value as readonly unknown[];
}

function offset(value: unknown, of: string): number {
  must(Number.isSafeInteger(value) && (value as number) >= 0, `an offset or length of ${of} is ${String(value)}`);
  return value as number;
}

function must(holds: boolean, what: string): void {
  if (!holds) throw invalid(what);
}

const invalid = (what: string): IoreqdError =>
  new IoreqdError("ARENA_INVALID", `not a usable state file: its layout is damaged: ${what}`, {});
