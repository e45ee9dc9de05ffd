// SPDX-License-Identifier: MIT
import { hasCode, IoreqdError, messageOf } from "../../src/base/errors.js";

test("an error carries its code, its details and its cause", () => {
  const cause = new Error("below");
  const error = new IoreqdError("XEN_CALL_FAILED", "tried, and failed", { domid: 7 }, { cause });
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({
    name: "IoreqdError",
    code: "XEN_CALL_FAILED",
    message: "tried, and failed",
    details: { domid: 7 },
    cause,
  });
});

test("anything thrown has a message", () => {
  expect([new Error("x"), "y", 3, undefined].map(messageOf)).toEqual(["x", "y", "3", "undefined"]);
});

test("a code is asked for by name, of our own errors only", () => {
  expect(hasCode(new IoreqdError("A", ""), "A")).toBe(true);
  expect(hasCode(new IoreqdError("A", ""), "B")).toBe(false);
  expect(hasCode(Object.assign(new Error(), { code: "A" }), "A")).toBe(false);
  expect(hasCode(null, "A")).toBe(false);
});
