// SPDX-License-Identifier: MIT
import { Access } from "../../src/bus/access.js";
import { RegisterBlock } from "../../src/bus/block.js";
import { Arena, arenaSize } from "../../src/state/arena.js";

test("a register behind a run of 64 KiB is found: rows are not counted in 16 bits", () => {
  const length = 0x1_0000;
  const arena = Arena.create(new ArrayBuffer(arenaSize(length + 4, "{}")), length + 4, "{}");
  const table = {
    size: 2 * length,
    regs: { RUN: { at: 0, bytes: length, rw: true }, AFTER: { at: length, rw: 0xff } },
  };
  const block = new RegisterBlock("test", table, arena, 0, new Access());
  arena.beginHost();
  block.reset();
  block.write(length, 4, 0x77);
  block.write(length - 1, 1, 0x55);
  expect(block.read(length, 4)).toBe(0x77);
  expect(block.read(length - 1, 1)).toBe(0x55);
  expect(block.nameAt(length, 4)).toBe("AFTER");
});
