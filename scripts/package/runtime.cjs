// SPDX-License-Identifier: MIT
/*
 * The Node.js that the package brings: which one, and its integrity, is in packaging/runtime/package-lock.json.
 * `npm update --prefix packaging/runtime` takes a newer one of the same major version.
 */
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { fail, npmCi, output, root } = require("./common.cjs");

/** The directory of the runtime: bin/node, LICENSE. */
function nodeRuntime() {
  const read = (name) => JSON.parse(fs.readFileSync(path.join(root, "packaging", "runtime", name), "utf8"));
  const modules = npmCi("runtime", read("package.json"), read("package-lock.json"));
  const directory = path.join(modules, `node-${process.platform}-${process.arch}`);
  const node = path.join(directory, "bin", "node");
  if (!fs.existsSync(node)) fail(`packaging/runtime names no Node.js for ${process.platform}-${process.arch}`);
  const [version, lts] = output(node, ["-p", "process.version + ' ' + (process.release.lts ?? '')"]).split(" ");
  // A release line without long-term support gets no security fixes after half a year.
  if (!lts) fail(`Node.js ${version} of packaging/runtime is no LTS release`);
  return { directory, version, lts };
}

module.exports = { nodeRuntime };
