// SPDX-License-Identifier: MIT
import { hex, hex64 } from "../../src/base/hex.js";

test.each([
  [0, "0x0"],
  [0x1f, "0x1f"],
  [-1, "0xffffffff"],
  [0x8000_0000 | 0, "0x80000000"],
  [0xffff_ffff, "0xffffffff"],
  [2 ** 52 - 1, "0xfffffffffffff"],
  [2n ** 64n - 1n, "0xffffffffffffffff"],
  [-1n, "0xffffffffffffffff"],
])("hex(%p) is unsigned: %s", (value, text) => {
  expect(hex(value)).toBe(text);
});

test("two int32 halves make one 64-bit number", () => {
  expect(hex64(0, 0x10)).toBe("0x10");
  expect(hex64(1, 0x10)).toBe("0x100000010");
  expect(hex64(-1, -1)).toBe("0xffffffffffffffff");
  expect(hex64(0, -1)).toBe("0xffffffff");
});
