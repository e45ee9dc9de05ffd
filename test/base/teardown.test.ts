// SPDX-License-Identifier: MIT
import { IoreqdError } from "../../src/base/errors.js";
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

test.each([
  ["once", 1, [], 2],
  ["always", Number.POSITIVE_INFINITY, ["ENOMEM"], 6],
])("a step that fails %s for want of memory is tried again", (_often, failures, told, tries) => {
  let tried = 0;
  const failed: unknown[] = [];
  const down = new Teardown();
  down.defer("the only one", () => {
    tried += 1;
    if (tried <= failures) throw new IoreqdError("XEN_CALL_FAILED", "no memory", { errno: "ENOMEM" });
  });
  down.close((_what, error) => failed.push((error as IoreqdError).details["errno"]));
  expect([tried, failed]).toEqual([tries, told]);
});
