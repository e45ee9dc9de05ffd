// SPDX-License-Identifier: MIT
/*
 * The program is one file in the package (scripts/package/bundle.cjs), and this stands where its main.js was. Each command runs
 * a part of it. What V8 has compiled of that part by the time that it ran is kept for the next process of that command, beside
 * what node:module keeps, which of this file is only what is compiled before the first line runs: a seventh of it.
 */
"use strict";

const fs = require("node:fs");
const { getCompileCacheDir, wrap } = require("node:module");
const path = require("node:path");
const vm = require("node:vm");
const { crc32 } = require("node:zlib");

/** Stands behind what is kept: V8 would run what a disk has made of it. */
const SUM_BYTES = 4;

const file = path.join(__dirname, "program.js");
const source = fs.readFileSync(file, "utf8");
const kept = placeOfKept();
const script = new vm.Script(wrap(source), {
  filename: file,
  cachedData: kept && contentOf(kept),
  importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
script.runInThisContext().call(module.exports, module.exports, require, module, file, __dirname);

let isKept = kept === undefined || script.cachedDataRejected === false;
function keep() {
  if (!isKept) write(kept, script.createCachedData());
  isKept = true;
}
process.on("exit", (code) => code === 0 && keep());
module.exports.compiled.keepCompiledBy(keep);

/** Of this command; undefined where nothing is to be kept (bin/ioreqd says where). */
function placeOfKept() {
  // Node.js has that from 22.1 on; the package's own always has.
  const directory = getCompileCacheDir ? getCompileCacheDir() : process.env.NODE_COMPILE_CACHE;
  const [, , command = ""] = process.argv;
  if (!directory || !/^[a-z]{1,20}$/.test(command)) return undefined;
  // V8 looks at its own version and flags, and of the source only at its length.
  const { size, mtimeMs } = fs.statSync(file);
  return path.join(directory, `${command}-${size}-${mtimeMs}`);
}

function contentOf(name) {
  let whole;
  try {
    whole = fs.readFileSync(name);
  } catch {
    return undefined;
  }
  const end = whole.length - SUM_BYTES;
  const data = whole.subarray(0, Math.max(end, 0));
  return end > 0 && whole.readUInt32LE(end) === crc32(data) ? data : undefined;
}

/** Whoever can't write there goes without. */
function write(name, data) {
  const [directory, [command]] = [path.dirname(name), path.basename(name).split("-")];
  const unfinished = `${name}.${process.pid}`;
  const sum = Buffer.alloc(SUM_BYTES);
  sum.writeUInt32LE(crc32(data));
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Of another version; and what a process left that was killed here.
    const old = fs.readdirSync(directory).filter((other) => other.startsWith(`${command}-`));
    fs.writeFileSync(unfinished, Buffer.concat([data, sum]), { mode: 0o600 });
    for (const other of old) fs.rmSync(path.join(directory, other), { force: true });
    fs.renameSync(unfinished, name);
  } catch {
    // There was no room, no right to write, or another process did the same.
  }
}
