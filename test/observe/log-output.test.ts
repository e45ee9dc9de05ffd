// SPDX-License-Identifier: MIT
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LogOutput } from "../../src/observe/log-output.js";

test("lines go to the descriptor as they are", () => {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-log-"));
  const path = join(directory, "log");
  const fd = openSync(path, "w");
  const output = new LogOutput(fd);
  output.write("one\n");
  output.write("two: ü\n");
  closeSync(fd);
  expect(readFileSync(path, "utf8")).toBe("one\ntwo: ü\n");
  rmSync(directory, { recursive: true });
});

test("a disk that is full costs lines and nothing else", () => {
  const fd = openSync("/dev/full", "w");
  const output = new LogOutput(fd);
  expect(() => {
    for (let i = 0; i < 3; i += 1) output.write(`line ${i}\n`);
  }).not.toThrow();
  closeSync(fd);
});
