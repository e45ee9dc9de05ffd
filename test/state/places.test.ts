// SPDX-License-Identifier: MIT
import fc from "fast-check";
import { type ArenaLayout, extentsOf, LayoutBuilder } from "../../src/state/layout.js";
import { firstFit } from "../../src/state/places.js";

test("the lowest gap that is large enough is taken", () => {
  const taken = [
    { at: 48, length: 8 },
    { at: 0, length: 16 },
    { at: 24, length: 8 },
  ];
  expect(firstFit(taken, 8, 100)).toBe(16);
  expect(firstFit(taken, 16, 100)).toBe(32);
  expect(firstFit(taken, 17, 100)).toBe(56);
  expect(firstFit(taken, 45, 100)).toBeNull();
  expect(firstFit([], 100, 100)).toBe(0);
});

const ROOM = 4096;
const steps = fc.array(
  fc.oneof(
    fc.record({ add: fc.array(fc.nat(300), { minLength: 1, maxLength: 5 }) }),
    fc.record({ remove: fc.nat(10) }),
  ),
  { maxLength: 60 },
);

test("whatever comes and goes, no two places overlap, all lie inside, on multiples of 8, and what goes is free again", () => {
  fc.assert(
    fc.property(steps, (list) => {
      let layout: ArenaLayout = { devices: [] };
      for (const step of list) {
        if ("remove" in step) {
          layout = { devices: layout.devices.filter((_, i) => i !== step.remove) };
          continue;
        }
        const builder = new LayoutBuilder(layout, ROOM);
        try {
          const device = builder.device("0000:00:10.0", "any");
          for (const length of step.add) builder.group(device, "group", length, []);
          layout = JSON.parse(builder.toJSON()) as ArenaLayout;
        } catch (error) {
          expect(error).toMatchObject({ code: "ARENA_FULL" });
        }
        const extents = extentsOf(layout).sort((a, b) => a.at - b.at);
        extents.forEach(({ at, length }, i) => {
          expect(at % 8).toBe(0);
          expect(at + length).toBeLessThanOrEqual(extents[i + 1]?.at ?? ROOM);
        });
      }
      const empty = new LayoutBuilder({ devices: [] }, ROOM);
      expect(empty.group(empty.device("0000:00:10.0", "all"), "group", ROOM, [])).toBe(0);
    }),
  );
});

test("what does not fit is refused with both sizes, and the layout that was there is as it was", () => {
  const before: ArenaLayout = { devices: [] };
  const builder = new LayoutBuilder(before, 64);
  builder.group(builder.device("0000:00:10.0", "one"), "config", 40, []);
  const more = builder.device("0000:00:11.0", "two");
  expect(() => builder.group(more, "config", 32, [])).toThrow(
    "two at 0000:00:11.0 needs 32 bytes in one piece; of the state file's 64 bytes 40 are taken",
  );
  expect(before.devices).toEqual([]);
});
