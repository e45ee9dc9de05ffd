// SPDX-License-Identifier: MIT
/*
 * Everything between a fresh clone and a program that runs: dependencies,
 * native parts, TypeScript. Does only what is stale. Written so that an old
 * Node.js can still read it and say that it is too old.
 */
"use strict";

var LEAST_NODE = 20;
var major = Number(process.versions.node.split(".")[0]);
if (major < LEAST_NODE) {
  fail("Node.js " + process.versions.node + " is too old: install Node.js " + LEAST_NODE + " or newer (https://nodejs.org).");
}

var childProcess = require("child_process");
var fs = require("fs");
var path = require("path");
var root = path.join(__dirname, "..");

[
  ["make", "make"],
  [process.env.CC || "cc", "gcc"],
  ["ar", "binutils"],
].forEach(function (tool) {
  if (childProcess.spawnSync(tool[0], ["--version"], { stdio: "ignore" }).error) {
    fail("There is no " + tool[0] + ": install a C tool chain (Debian: apt install build-essential, which brings " + tool[1] + ").");
  }
});

// npm writes this file last, so it tells when an installation was complete.
var installed = path.join(root, "node_modules", ".package-lock.json");
if (newest([path.join(root, "package-lock.json")]) > newest([installed])) {
  step("installing dependencies", "npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
  fs.utimesSync(installed, new Date(), new Date());
}
step(null, "make", ["--no-print-directory", "-s", "-j2", "-C", "native"]);

var sources = ["src", "test", "bench", "examples"].map(function (name) {
  return path.join(root, name);
});
var built = path.join(root, "dist", ".built");
if (newest(sources.concat(path.join(root, "tsconfig.json"), installed)) > newest([built])) {
  step("compiling TypeScript", process.execPath, [path.join(root, "node_modules", "typescript", "bin", "tsc"), "-p", root]);
  removeOrphans();
  fs.writeFileSync(built, "");
}

/** Time of the newest file below these places, in ms; 0 where there is none. */
function newest(places) {
  return places.reduce(function (latest, place) {
    if (!fs.existsSync(place)) return latest;
    var stat = fs.statSync(place);
    if (!stat.isDirectory()) return Math.max(latest, stat.mtimeMs);
    var below = fs.readdirSync(place).map(function (name) {
      return path.join(place, name);
    });
    return Math.max(latest, stat.mtimeMs, newest(below));
  }, 0);
}

/** A source that was deleted leaves its output behind, and a test runner would run it. */
function removeOrphans() {
  sources.forEach(function walk(place) {
    var out = path.join(root, "dist", path.relative(root, place));
    if (!fs.existsSync(out)) return;
    fs.readdirSync(out, { withFileTypes: true }).forEach(function (entry) {
      if (entry.isDirectory()) return walk(path.join(place, entry.name));
      var source = path.join(place, entry.name.replace(/(\.d\.ts|\.js)(\.map)?$/, ".ts"));
      if (!fs.existsSync(source)) fs.unlinkSync(path.join(out, entry.name));
    });
  });
}

function step(what, command, args) {
  if (what !== null) process.stderr.write("ioreqd: " + what + "…\n");
  var result = childProcess.spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.error) fail("Cannot run " + command + ": " + result.error.message);
  if (result.status !== 0) fail((what || command + " " + args.join(" ")) + " failed; what it said is above.");
}

function fail(sentence) {
  process.stderr.write("ioreqd: " + sentence + "\n");
  process.exit(1);
}
