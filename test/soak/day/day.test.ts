// SPDX-License-Identifier: MIT
/** A little of `npm run soak -- --hours 24`; and whether that would find what grows. */

import { join } from "node:path";
import { day } from "./day.js";
import { FIGURES, judge, type Sample } from "./figures.js";
import { growth } from "./growth.js";

const LITTLE = { hours: 0.5, faster: 240 };
const MINUTES = 60_000;

test(
  "nothing grows, and nothing is left, in half an hour of a guest's life",
  async () => {
    const { problems, brought } = await day(LITTLE);
    expect(problems).toEqual([]);
    for (const [what, count] of Object.entries(brought)) expect([what, count]).not.toEqual([what, 0]);
  },
  3 * MINUTES,
);

test.each([
  ["heap", "V8 heap, KiB grows by"],
  ["buffers", "array buffers, KiB grows by"],
  ["descriptors", "descriptors grows by"],
])(
  "a device that keeps more and more (%s) is found",
  async (of, expected) => {
    const { problems } = await day({
      ...LITTLE,
      hours: 0.25,
      more: [`${join(__dirname, "leak.js")},addr=18.0,of=${of}`],
    });
    expect(problems).toContainEqual(expect.stringContaining(expected));
  },
  3 * MINUTES,
);

const series = (length: number, value: (n: number) => number): number[] => Array.from({ length }, (_, n) => value(n));

test("what fills up first, or is high for a moment, is no growth; what goes on and on is", () => {
  const most = { most: 10 };
  expect(
    growth(
      series(40, (n) => Math.min(n, 9) * 100),
      most,
    ),
  ).toMatchObject({ before: 900, after: 900, grows: false });
  expect(
    growth(
      series(40, (n) => (n === 35 ? 1e6 : 50)),
      most,
    ).grows,
  ).toBe(false);
  expect(
    growth(
      series(40, (n) => 50 + (n % 3)),
      most,
    ).grows,
  ).toBe(false);
  expect(
    growth(
      series(40, (n) => 1000 + n),
      most,
    ),
  ).toMatchObject({ before: 1015, after: 1035, grows: true });
  expect(
    growth(
      series(40, (n) => 1000 + n),
      { ...most, share: 0.05 },
    ),
  ).toMatchObject({ allowed: 50.75, grows: false });
  expect(() =>
    growth(
      series(7, () => 1),
      most,
    ),
  ).toThrow(/at least 8/);
});

const samples = (lines: (n: number) => number): Sample[] =>
  Array.from({ length: 64 }, (_, n) => {
    const values = Object.fromEntries(FIGURES.map(({ name }) => [name, 1])) as Sample["values"];
    return { hour: n / 4, pid: 1, values: { ...values, "lines of the log, an hour": lines(n) } };
  });

test("a log to which more and more is written in an hour is found; one that gets the same each hour is not", () => {
  const wrong = (lines: (n: number) => number): string[] =>
    judge(samples(lines)).flatMap(({ figure, what }) => (what === null ? [] : [figure.name]));
  expect(wrong((n) => n * 30)).toEqual([]);
  expect(wrong((n) => n * n)).toEqual(["lines of the log, an hour"]);
});
