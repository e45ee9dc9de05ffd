// SPDX-License-Identifier: MIT
/* What the steps of packaging share. */
"use strict";

const { spawnSync } = require("node:child_process");
const { createHash } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const root = path.join(__dirname, "..", "..");
/** Where the package stands once installed. */
const PREFIX = "usr/lib/ioreqd";

function say(sentence) {
  process.stderr.write(`ioreqd: ${sentence}\n`);
}

function fail(sentence) {
  say(sentence);
  process.exit(1);
}

/** Run to the end, with its output on ours. */
function run(command, args, options = {}) {
  const { error, status } = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2], ...options });
  if (error) fail(`cannot run ${command}: ${error.message}`);
  if (status !== 0) fail(`${command} ${args.join(" ")} failed; what it said is above.`);
}

/** What a command prints. */
function output(command, args, options = {}) {
  const stdio = ["ignore", "pipe", "inherit"];
  const { error, status, stdout } = spawnSync(command, args, { cwd: root, encoding: "utf8", stdio, ...options });
  if (error) fail(`cannot run ${command}: ${error.message}`);
  if (status !== 0) fail(`${command} ${args.join(" ")} failed; what it said is above.`);
  return stdout.trim();
}

/**
 * Install what a package.json and its lock file say, by `npm ci`, into a directory that is kept between runs.
 * Its name has the digest of both, so what is in it is never of another lock file.
 */
function npmCi(name, manifest, lock) {
  const digest = createHash("sha256")
    .update(JSON.stringify([manifest, lock]))
    .digest("hex")
    .slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME
    ? path.join(process.env.XDG_CACHE_HOME, "ioreqd", "package")
    : path.join(root, "node_modules", ".cache", "ioreqd", "package");
  const directory = path.join(cache, `${name}-${digest}`);
  const modules = path.join(directory, "node_modules");
  const complete = path.join(directory, ".complete");
  if (fs.existsSync(complete)) return modules;
  fs.rmSync(directory, { recursive: true, force: true });
  fs.mkdirSync(directory, { recursive: true });
  fs.writeFileSync(path.join(directory, "package.json"), JSON.stringify(manifest));
  fs.writeFileSync(path.join(directory, "package-lock.json"), JSON.stringify(lock));
  say(`installing ${name}…`);
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  run("npm", ["ci", "--ignore-scripts", "--prefer-offline", ...quiet], { cwd: directory });
  fs.writeFileSync(complete, "");
  return modules;
}

/** All files below a directory, relative to it, sorted. Links are files. */
function filesBelow(directory, below = "") {
  const entries = fs.readdirSync(path.join(directory, below), { withFileTypes: true });
  return entries
    .flatMap((entry) => {
      const name = path.join(below, entry.name);
      return entry.isDirectory() ? filesBelow(directory, name) : [name];
    })
    .sort();
}

const isElf = (file) => {
  const head = Buffer.alloc(4);
  const fd = fs.openSync(file, "r");
  fs.readSync(fd, head);
  fs.closeSync(fd);
  return head.toString("latin1") === "\x7fELF";
};

module.exports = { PREFIX, fail, filesBelow, isElf, npmCi, output, root, run, say };
