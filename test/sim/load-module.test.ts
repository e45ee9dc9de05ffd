// SPDX-License-Identifier: MIT
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadDefault, loadModule } from "../../src/base/load-module.js";

const SOURCE = join(__dirname, "..", "..", "src");
let directory = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "load-test-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const file = join(directory, name);
  writeFileSync(file, text);
  return file;
}

test.each([
  ["TypeScript", "a.ts", "enum A { one = 1 } export const one: number = A.one; export default (): number => 5;"],
  ["an ES module", "a.mjs", "export const one = 1; export default () => 5;"],
  ["a CommonJS module with a default", "a.cjs", "exports.one = 1; exports.default = () => 5;"],
])("%s gives its names and its default export", (_, name, text) => {
  const file = write(name, text);
  expect(loadModule(file)).toMatchObject({ one: 1 });
  expect((loadDefault(file) as () => number)()).toBe(5);
});

test("a CommonJS module that is a function is its own default", () => {
  expect((loadDefault(write("a.cjs", "module.exports = () => 6;")) as () => number)()).toBe(6);
});

test("a module may import its neighbours", () => {
  write("near.ts", "export const near = 8;");
  expect(loadDefault(write("a.ts", 'import { near } from "./near"; export default near;'))).toBe(8);
});

test.each(["a.ts", "a.mjs"])("a module without a default export has none (%s)", (name) => {
  expect(loadDefault(write(name, "export const one = 1;"))).toBeUndefined();
});

test("a CommonJS module without a default is itself its default", () => {
  expect(loadDefault(write("a.cjs", "exports.one = 1;"))).toMatchObject({ one: 1 });
});

test('"ioreqd" in a module is this very copy of ioreqd, whichever is loaded first', () => {
  const file = write("a.ts", 'import * as ioreqd from "ioreqd"; export default ioreqd;');
  const load = `require(${JSON.stringify(join(SOURCE, "base", "load-module.js"))}).loadDefault(${JSON.stringify(file)})`;
  const own = `require(${JSON.stringify(join(SOURCE, "index.js"))})`;
  for (const [first, second] of [
    [load, own],
    [own, load],
  ]) {
    const script = `const a = ${first}, b = ${second}; const names = Object.keys(a);
      console.log(names.length > 0 && names.every((name) => a[name] === b[name]))`;
    expect(execFileSync(process.execPath, ["-e", script], { encoding: "utf8" }).trim()).toBe("true");
  }
});

test("a file that is not there is told", () => {
  const path = join(directory, "none.ts");
  expect(() => loadModule(path)).toThrow(expect.objectContaining({ code: "MODULE_NOT_FOUND" }));
});

test("a mistake in the text is told with its place", () => {
  const file = write("a.ts", "export default (\n");
  expect(() => loadModule(file)).toThrow(
    expect.objectContaining({ code: "MODULE_LOAD_FAILED", message: expect.stringContaining(`${file}:2`) }),
  );
});

test("what a module throws is the cause", () => {
  const file = write("a.ts", 'throw new Error("on purpose");');
  expect(() => loadModule(file)).toThrow(
    expect.objectContaining({ code: "MODULE_LOAD_FAILED", message: expect.stringContaining("on purpose") }),
  );
});

test("a top-level await is refused with a word about it", () => {
  const file = write("a.ts", "export default await Promise.resolve(1);");
  expect(() => loadModule(file)).toThrow(/top-level await is not possible/);
});
