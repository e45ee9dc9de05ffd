// SPDX-License-Identifier: MIT
/*
 * Everything between a fresh clone and a program that runs: dependencies,
 * native parts, TypeScript. Does only what is stale. The version comes first,
 * before anything that an old Node.js would not know.
 */
"use strict";

const LEAST_NODE = 20;
if (Number(process.versions.node.split(".")[0]) < LEAST_NODE) {
  fail(`Node.js ${process.versions.node} is too old: install Node.js ${LEAST_NODE} or newer (https://nodejs.org).`);
}

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const root = path.join(__dirname, "..");

for (const tool of ["make", process.env.CC || "cc", "ar"]) {
  if (spawnSync(tool, ["--version"], { stdio: "ignore" }).error) {
    fail(`There is no ${tool}: install a C tool chain (Debian: apt install build-essential).`);
  }
}

// npm writes this file last, so it tells when an installation was complete.
const installed = path.join(root, "node_modules", ".package-lock.json");
if (newest([path.join(root, "package-lock.json")]) > newest([installed])) {
  // Not `npm ci`: it wants the packages of every platform in the lock file, also where a registry has not all.
  step("installing dependencies", "npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"], {
    env: { ...process.env, ...headersBeside(process.execPath) },
  });
  fs.utimesSync(installed, new Date(), new Date());
}

step("building native parts", "make", ["--no-print-directory", "-s", "-j2", "-C", "native"], { quiet: true });

const sources = ["src", "test", "bench", "examples", "fuzz"].map((name) => path.join(root, name));
const built = path.join(root, "dist", ".built");
if (newest([...sources, path.join(root, "tsconfig.json"), installed]) > newest([built])) {
  step("compiling TypeScript", process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", root]);
  for (const source of sources) removeOrphans(source);
  fs.writeFileSync(built, "");
}

/** Where Node.js brings its headers, ffi-napi (which is optional) can be built without fetching them. */
function headersBeside(node) {
  const prefix = path.resolve(fs.realpathSync(node), "../..");
  return fs.existsSync(path.join(prefix, "include/node/node_api.h")) ? { npm_config_nodedir: prefix } : {};
}

/** Time of the newest file below these places, in ms; 0 where there is none. */
function newest(places) {
  let latest = 0;
  for (const place of places) {
    const stat = fs.statSync(place, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    const below = stat.isDirectory() ? fs.readdirSync(place).map((name) => path.join(place, name)) : [];
    latest = Math.max(latest, stat.mtimeMs, newest(below));
  }
  return latest;
}

/** A source that was deleted leaves its output behind, and a test runner would run it. */
function removeOrphans(source) {
  const out = path.join(root, "dist", path.relative(root, source));
  if (!fs.existsSync(out)) return;
  for (const entry of fs.readdirSync(out, { withFileTypes: true })) {
    if (entry.isDirectory()) removeOrphans(path.join(source, entry.name));
    else if (!fs.existsSync(path.join(source, entry.name.replace(/(\.d\.ts|\.js)(\.map)?$/, ".ts")))) {
      fs.unlinkSync(path.join(out, entry.name));
    }
  }
}

/** Run a command with its output on our standard error. `quiet`: say nothing when all is well. */
function step(what, command, args, { quiet = false, env = process.env } = {}) {
  if (!quiet) process.stderr.write(`ioreqd: ${what}…\n`);
  const { error, status } = spawnSync(command, args, { cwd: root, env, stdio: ["ignore", 2, 2] });
  if (error) fail(`${what}: cannot run ${command}: ${error.message}`);
  if (status !== 0) fail(`${what} failed; what ${command} said is above.`);
}

function fail(sentence) {
  process.stderr.write(`ioreqd: ${sentence}\n`);
  process.exit(1);
}
