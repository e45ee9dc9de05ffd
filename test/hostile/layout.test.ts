// SPDX-License-Identifier: MIT
/** A layout that something has written into: text in a state file, of which nothing is believed that can't be. */

import { inspectArena } from "../../src/cli/inspect.js";
import { counter } from "../../src/devices/counter.js";
import { Arena, HOST_RECORD, PHASE } from "../../src/state/arena.js";
import type { ArenaLayout, GroupDescription, PlaceDescription } from "../../src/state/layout.js";
import { Machine } from "../support/machine.js";

const RESERVE = { data: 4096, layout: 1 << 16 };

/** The state file of a machine with a counter, whose layout is what `spoil` made of it. */
function spoilt(spoil: (layout: ArenaLayout) => unknown): Machine {
  const machine = new Machine([counter], undefined, RESERVE);
  const layout = JSON.parse(machine.arena.layout()) as ArenaLayout;
  const text = spoil(layout);
  machine.arena.begin(HOST_RECORD);
  machine.arena.setLayout(typeof text === "string" ? text : JSON.stringify(text ?? layout));
  machine.arena.commit(PHASE.committed, 0, 0);
  machine.arena.release(HOST_RECORD);
  return machine;
}

const group = (layout: ArenaLayout, index = 0): GroupDescription =>
  layout.devices[0]?.groups[index] as GroupDescription;
const place = (layout: ArenaLayout): PlaceDescription => group(layout).places[0] as PlaceDescription;
const set = (target: object, values: Record<string, unknown>): void => {
  Object.assign(target, values);
};

const cases: ReadonlyArray<readonly [what: string, spoil: (layout: ArenaLayout) => unknown]> = [
  ["is empty", () => ""],
  ["ends in its middle", (layout) => JSON.stringify(layout).slice(0, -20)],
  ["is a number", () => 5],
  ["is null", () => "null"],
  ["has no devices", () => ({})],
  ["has devices that are no list", () => ({ devices: "many" })],
  ["has a device that is null", () => ({ devices: [null] })],
  ["has a device without groups", (layout) => set(layout.devices[0] as object, { groups: undefined })],
  ["has a group behind the end of the data", (layout) => set(group(layout), { at: 1 << 20 })],
  ["has a group before the data", (layout) => set(group(layout), { at: -4096 })],
  ["has a group at half a byte", (layout) => set(group(layout), { at: 0.5 })],
  ["has a group of 2^53 bytes", (layout) => set(group(layout), { length: 2 ** 53 })],
  ["has a group whose length is text", (layout) => set(group(layout), { length: "256" })],
  ["has two groups at one place", (layout) => set(group(layout, 1), { ...group(layout), name: "again" })],
  ["has a place outside of its group", (layout) => set(place(layout), { at: group(layout, 1).at })],
  ["has a place of no bytes", (layout) => set(place(layout), { width: 0 })],
  ["has a place of a gigabyte", (layout) => set(place(layout), { width: 1 << 30 })],
  ["has a number of 3 bytes", (layout) => set(place(layout), { kind: "number", width: 3 })],
  ["has a kind of place that there is not", (layout) => set(place(layout), { kind: "pointer" })],
];

test.each(cases)("one that %s is refused by whoever reads it, and nothing is stored", (_what, spoil) => {
  const machine = spoilt(spoil);
  const before = machine.arena.u8.slice();
  const refused = expect.objectContaining({ code: "ARENA_INVALID" }) as Error;
  expect(() => inspectArena(Arena.open(machine.arena.u8.slice().buffer))).toThrow(refused);
  const [fn] = machine.hotplug.requests;
  const request = { ...(fn as NonNullable<typeof fn>), sbdf: ((fn?.sbdf ?? 0) + 8) as NonNullable<typeof fn>["sbdf"] };
  expect(() => machine.hotplug.add(request)).toThrow(refused);
  expect(Buffer.compare(machine.arena.u8, before)).toBe(0);
});

test("the layout as it was written is believed", () => {
  const machine = spoilt(() => undefined);
  expect(inspectArena(machine.arena).devices[0]?.device).toBe("counter");
});
