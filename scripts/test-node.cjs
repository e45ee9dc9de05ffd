// SPDX-License-Identifier: MIT
/*
 * The tests on other versions of Node.js: `npm run test:node [VERSION…]`. Each
 * version comes from the npm package `node` into a directory of its own. The
 * native parts are those of this version: Node-API is the same for all.
 */
"use strict";

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const root = path.join(__dirname, "..");
const versions = process.argv.length > 2 ? process.argv.slice(2) : ["22", "24", "26"];
const failed = [];

require("./setup.cjs");

for (const version of versions) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "ioreqd-node-"));
  try {
    const node = install(version, directory);
    if (node === null || !test(node)) failed.push(version);
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}
if (failed.length > 0) {
  process.stderr.write(`ioreqd: the tests fail on Node.js ${failed.join(", ")}\n`);
  process.exit(1);
}

/** The path of the program, or null. */
function install(version, directory) {
  const args = ["install", "--no-save", "--no-audit", "--no-fund", "--prefix", directory, `node@${version}`];
  spawnSync("npm", args, { stdio: ["ignore", "ignore", "inherit"] });
  const platform = `node-${process.platform}-${process.arch}`;
  const places = [`node/bin/node`, `${platform}/bin/node`, `node/node_modules/${platform}/bin/node`];
  const found = places.map((place) => path.join(directory, "node_modules", place)).find((file) => fs.existsSync(file));
  if (found === undefined) process.stderr.write(`ioreqd: npm has no Node.js ${version} for ${platform}\n`);
  return found ?? null;
}

/** All tests, with this Node.js first on the path, so that what they start runs on it too. */
function test(node) {
  const version = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim();
  process.stderr.write(`ioreqd: tests on Node.js ${version}\n`);
  const env = { ...process.env, PATH: `${path.dirname(node)}:${process.env.PATH}` };
  const { status } = spawnSync(node, [path.join(root, "node_modules/jest/bin/jest.js")], {
    cwd: root,
    stdio: "inherit",
    env,
  });
  return status === 0;
}
