// SPDX-License-Identifier: MIT
import { Teardown } from "../../src/base/teardown.js";

test("steps are undone newest first, and only once", () => {
  const undone: string[] = [];
  const down = new Teardown();
  for (const what of ["first", "second", "third"]) down.defer(what, () => void undone.push(what));
  down.close(() => undone.push("failed"));
  down.close(() => undone.push("again"));
  expect(undone).toEqual(["third", "second", "first"]);
});

test("a step that throws is told by its name, and the others still run", () => {
  const undone: string[] = [];
  const failed: unknown[] = [];
  const down = new Teardown();
  down.defer("first", () => void undone.push("first"));
  down.defer("second", () => {
    throw new Error("no");
  });
  down.defer("third", () => void undone.push("third"));
  down.close((what, error) => failed.push([what, (error as Error).message]));
  expect(undone).toEqual(["third", "first"]);
  expect(failed).toEqual([["second", "no"]]);
});

test("a step may defer another: that one runs next", () => {
  const undone: string[] = [];
  const down = new Teardown();
  down.defer("first", () => void undone.push("first"));
  down.defer("second", () => {
    undone.push("second");
    down.defer("late", () => void undone.push("late"));
  });
  down.close(() => {});
  expect(undone).toEqual(["second", "late", "first"]);
});
