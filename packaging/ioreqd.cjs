#!/usr/bin/env node
// SPDX-License-Identifier: MIT
/*
 * The program is one file here (scripts/package/bundle.cjs), of which each command runs a part. What V8 has compiled of that
 * part by the time that it ran is kept for the next process of that command. The cache of node:module has only what is
 * compiled before the first line runs, which is a seventh of it.
 */
"use strict";

const fs = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const vm = require("node:vm");
const { crc32 } = require("node:zlib");

const file = path.join(__dirname, "../dist/src/cli/main.js");
/** Stands behind what is kept: V8 would run what a disk has made of it. */
const SUM_BYTES = 4;

const [, , command = ""] = process.argv;
const directory = cacheDirectory();
const program = directory && /^[a-z]{1,20}$/.test(command) ? load(path.join(directory, "compiled")) : require(file);
program.main(process.argv);

/** Of root or of the user; not one below /tmp: whoever made that first would have us run what is in it. */
function cacheDirectory() {
  const { NODE_DISABLE_COMPILE_CACHE, IOREQD_CACHE, HOME, XDG_CACHE_HOME = HOME && `${HOME}/.cache` } = process.env;
  if (NODE_DISABLE_COMPILE_CACHE) return undefined;
  const base = process.getuid() === 0 ? "/var/cache" : XDG_CACHE_HOME;
  return IOREQD_CACHE ?? (base && path.join(base, "ioreqd"));
}

/** What `require(file)` gives, with what is kept in a directory, and kept there as the process ends or says so. */
function load(directory) {
  // For what stays outside of that file, among it a compiler for device modules in TypeScript, this does.
  Module.enableCompileCache?.(path.join(directory, "modules"));
  const source = fs.readFileSync(file, "utf8");
  // V8 looks at its own version and flags, and of the source only at its length.
  const { size, mtimeMs } = fs.statSync(file);
  const kept = path.join(directory, `${command}-${process.version}-${size}-${mtimeMs}`);
  const script = new vm.Script(Module.wrap(source), {
    filename: file,
    cachedData: contentOf(kept),
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  // Device modules find it by its file: src/base/place.ts.
  const module = new Module(file);
  require.cache[file] = module;
  const { exports } = module;
  const own = Module.createRequire(file);
  script.runInThisContext().call(exports, exports, own, module, file, path.dirname(file));
  module.loaded = true;

  let isKept = script.cachedDataRejected === false;
  const keep = () => {
    Module.flushCompileCache?.();
    if (!isKept) keepFor(script, kept);
    isKept = true;
  };
  process.on("exit", (code) => code === 0 && keep());
  module.exports.compiled.keepCompiledBy(keep);
  return module.exports;
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
function keepFor(script, name) {
  const directory = path.dirname(name);
  const unfinished = `${name}.${process.pid}`;
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Of another version; and what a process left that was killed here.
    const old = fs.readdirSync(directory).filter((other) => other.startsWith(`${command}-`));
    const data = script.createCachedData();
    const sum = Buffer.alloc(SUM_BYTES);
    sum.writeUInt32LE(crc32(data));
    fs.writeFileSync(unfinished, Buffer.concat([data, sum]), { mode: 0o600 });
    for (const other of old) fs.rmSync(path.join(directory, other), { force: true });
    fs.renameSync(unfinished, name);
  } catch {
    // There was no room, no right to write, or another process did the same.
  }
}
