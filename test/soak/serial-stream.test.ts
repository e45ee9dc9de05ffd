// SPDX-License-Identifier: MIT

import { compareStream, streamByte } from "./serial-stream.js";

const SENT = 200;

/** A file of these pieces of the stream, each from one position up to another. */
const fileOf = (...pieces: Array<[from: number, end: number]>): Uint8Array =>
  Uint8Array.from(pieces.flatMap(([from, end]) => Array.from({ length: end - from }, (_, i) => streamByte(from + i))));

const none = { repeated: 0, repeats: 0, longestRepeat: 0, lost: 0, foreignAt: null };

test.each([
  ["that arrived whole", [[0, 200]], { bytes: 200 }],
  [
    "of which one byte came again",
    [
      [0, 50],
      [49, 200],
    ],
    { bytes: 200, repeated: 1, repeats: 1, longestRepeat: 1 },
  ],
  [
    "of which a piece came again",
    [
      [0, 50],
      [10, 50],
      [50, 200],
    ],
    { bytes: 200, repeated: 40, repeats: 1, longestRepeat: 40 },
  ],
  [
    "that lacks three bytes",
    [
      [0, 50],
      [53, 200],
    ],
    { bytes: 197, lost: 3 },
  ],
  [
    "of which only pieces arrived",
    [
      [0, 50],
      [60, 64],
      [80, 90],
    ],
    { bytes: 64, lost: 136 },
  ],
] as const)("a stream %s is told as such", (_what, pieces, expected) => {
  const file = fileOf(...pieces.map(([from, end]): [number, number] => [from, end]));
  expect(compareStream(file, SENT)).toEqual({ ...none, ...expected });
});

test("bytes that were never sent are found", () => {
  const file = fileOf([0, 50]);
  expect(compareStream(Uint8Array.from([...file, ...Buffer.from("something else")]), SENT)).toMatchObject({
    foreignAt: 50,
  });
});
