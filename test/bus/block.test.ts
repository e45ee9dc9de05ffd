// SPDX-License-Identifier: MIT
import { Access } from "../../src/bus/access.js";
import { RegisterBlock } from "../../src/bus/block.js";
import { type Register, registersOf } from "../../src/bus/register.js";
import type { BlockTable } from "../../src/bus/table.js";
import { Arena, arenaSize } from "../../src/state/arena.js";

function build(table: BlockTable): { block: RegisterBlock; reg: Record<string, Register> } {
  const arena = Arena.create(new ArrayBuffer(arenaSize(256, "{}")), 256, "{}");
  const block = new RegisterBlock("test", table, arena, 0, new Access());
  arena.beginHost();
  block.reset();
  return { block, reg: registersOf(block) as Record<string, Register> };
}

const ALL = 0xffff_ffff;

test("a register reads its reset value and keeps only its writable bits", () => {
  const { block } = build({ size: 16, regs: { A: { at: 4, reset: 0x1234_5678, rw: 0x0000_ff00 } } });
  block.write(4, 4, -1);
  expect(block.read(4, 4) >>> 0).toBe(0x1234_ff78);
});

test("writing ones clears w1c bits and leaves the others", () => {
  const { block } = build({ size: 16, regs: { A: { at: 0, reset: 0x0f, w1c: 0x03, rw: 0x08 } } });
  block.write(0, 4, 0x01);
  expect(block.read(0, 4)).toBe(0x06);
});

test("a narrow read takes bytes out of the whole register, and its handler runs once", () => {
  const { block, reg } = build({ size: 16, regs: { A: { at: 0, reset: 0x4433_2211 } } });
  let runs = 0;
  reg["A"]?.onRead((stored) => {
    runs += 1;
    return stored;
  });
  expect(block.read(1, 2)).toBe(0x3322);
  expect(runs).toBe(1);
});

test("a narrow write changes only its bytes and tells the handler which", () => {
  const { block, reg } = build({ size: 16, regs: { A: { at: 0, reset: 0x4433_2211, rw: ALL } } });
  const seen: number[][] = [];
  reg["A"]?.onWrite((raw, mask, before) => seen.push([raw, mask, before]));
  block.write(2, 1, 0xaa);
  expect(block.read(0, 4)).toBe(0x44aa_2211);
  expect(seen).toEqual([[0x00aa_0000, 0x00ff_0000, 0x4433_2211]]);
});

test("a narrow write does not clear w1c bits of the bytes it leaves out", () => {
  const { block } = build({ size: 16, regs: { A: { at: 0, reset: 0x0101, w1c: 0xffff } } });
  block.write(1, 1, 0x01);
  expect(block.read(0, 4)).toBe(0x0001);
});

test("an access across two registers and a hole reaches each once, in order", () => {
  const { block, reg } = build({
    size: 16,
    regs: { A: { at: 0, width: 1, rw: 0xff }, B: { at: 2, width: 2, rw: 0xffff } },
  });
  const order: string[] = [];
  reg["A"]?.onWrite(() => order.push("A"));
  reg["B"]?.onWrite(() => order.push("B"));
  block.write(0, 4, 0x4433_2211);
  expect(order).toEqual(["A", "B"]);
  expect(block.read(0, 4)).toBe(0x4433_0011);
  expect(block.read(1, 2)).toBe(0x3300);
});

test("holes read as the table says", () => {
  expect(build({ size: 16, holes: "ones", regs: { A: { at: 0 } } }).block.read(4, 4)).toBe(-1);
  expect(build({ size: 16, holes: "ones", regs: { A: { at: 0, width: 1 } } }).block.read(0, 2)).toBe(0xff00);
  expect(build({ size: 16, regs: { A: { at: 0 } } }).block.read(8, 2)).toBe(0);
});

test("a width the table does not accept reads all-ones and writes nothing", () => {
  const { block } = build({ size: 16, accepts: [{ from: 0, widths: [4] }], regs: { A: { at: 0, reset: 5, rw: ALL } } });
  expect(block.read(0, 1)).toBe(0xff);
  expect(block.read(0, 2)).toBe(0xffff);
  block.write(0, 2, 0x1234);
  expect(block.read(0, 4)).toBe(5);
});

test("values of four bytes are int32 and shorter ones are unsigned", () => {
  const { block } = build({ size: 16, regs: { A: { at: 0, reset: ALL }, B: { at: 4, width: 2, reset: 0xffff } } });
  expect(block.read(0, 4)).toBe(-1);
  expect(block.read(4, 2)).toBe(0xffff);
});

test("an unaligned register is stored whole", () => {
  const { block } = build({ size: 16, regs: { A: { at: 3, width: 4, rw: ALL } } });
  block.write(3, 4, 0x4433_2211);
  expect(block.read(3, 4)).toBe(0x4433_2211);
});

test("after one access across several registers afterWrite runs once", () => {
  const { block } = build({
    size: 16,
    regs: { A: { at: 0, width: 2, rw: 0xffff }, B: { at: 2, width: 2, rw: 0xffff } },
  });
  let runs = 0;
  block.afterWrite = () => {
    runs += 1;
  };
  block.write(0, 4, -1);
  expect(runs).toBe(1);
});

test("logs name what an access touches", () => {
  const { block } = build({
    size: 32,
    regs: { A: { at: 0 }, B: { at: 4 }, W: { at: 8, width: 8 }, N: { at: 16, bytes: 4 } },
  });
  expect(block.nameAt(0, 4)).toBe("A");
  expect(block.nameAt(2, 4)).toBe("A+2,B");
  expect(block.nameAt(12, 4)).toBe("W+4");
  expect(block.nameAt(17, 1)).toBe("N+1");
  expect(block.nameAt(24, 4)).toBe("");
});

test.each([
  ["registers A and B overlap at 0x2", { A: { at: 0 }, B: { at: 2 } }],
  ["register A at 0xe (4 bytes) is outside the 16-byte block", { A: { at: 14 } }],
  ["register A is 1 bytes wide; 0x100 does not fit", { A: { at: 0, width: 1, reset: 0x100 } }],
  ["register A has bits in both rw and w1c", { A: { at: 0, rw: 1, w1c: 1 } }],
] as const)("a wrong table is refused: %s", (message, regs) => {
  expect(() => build({ size: 16, regs })).toThrow(message);
});
