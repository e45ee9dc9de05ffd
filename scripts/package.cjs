// SPDX-License-Identifier: MIT
/*
 * `npm run package [-- --check]`: build/ioreqd_VERSION_ARCHITECTURE.deb, for Debian 12 and later.
 * `--check` builds it a second time, wants the same bytes, and asks lintian where it is installed.
 */
"use strict";

require("./setup.cjs");

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { buildDeb, epoch } = require("./package/debian.cjs");
const { PREFIX, fail, output, root, run, say } = require("./package/common.cjs");
const { productionModules } = require("./package/dependencies.cjs");
const { nodeRuntime } = require("./package/runtime.cjs");
const { stage } = require("./package/stage.cjs");

const flags = process.argv.slice(2);
for (const flag of flags) if (flag !== "--check") fail(`package: there is no option ${flag}; there is --check`);

const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));
const architecture = output("dpkg", ["--print-architecture"]);
const deb = path.join(root, "build", `ioreqd_${version}_${architecture}.deb`);

const started = performance.now();
const inputs = { modules: productionModules(), runtime: nodeRuntime(), version, architecture, epoch: epoch() };
build(deb);
const seconds = ((performance.now() - started) / 1000).toFixed(1);
say(`${path.relative(root, deb)}: ${(fs.statSync(deb).size / 1e6).toFixed(1)} MB after ${seconds} s`);
if (flags.includes("--check")) check();

function build(file) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  // Not below this directory: a module that is missing from the tree would be found in node_modules further up.
  const tree = fs.mkdtempSync(path.join(os.tmpdir(), "ioreqd-package-"));
  process.once("exit", () => fs.rmSync(tree, { recursive: true, force: true }));
  stage(tree, inputs);
  tryOut(path.join(tree, PREFIX));
  buildDeb(tree, file, inputs);
}

/** What is in the tree runs by itself: the demo, which loads all that serving a guest needs, and a device in TypeScript. */
function tryOut(own) {
  const node = path.join(own, "runtime/bin/node");
  const ioreqd = path.join(own, "bin/ioreqd");
  const cache = fs.mkdtempSync(path.join(os.tmpdir(), "ioreqd-package-cache-"));
  process.once("exit", () => fs.rmSync(cache, { recursive: true, force: true }));
  const env = { ...process.env, NODE_COMPILE_CACHE: cache };
  output(node, [ioreqd, "demo", "--once"], { env });
  // The second time with what is kept of the first.
  for (let time = 0; time < 2; time += 1)
    output(node, [ioreqd, "explain", path.join(root, "examples/dice.ts")], { env });
}

function check() {
  const again = path.join(root, "build", "again", path.basename(deb));
  build(again);
  if (!fs.readFileSync(deb).equals(fs.readFileSync(again))) {
    fail(`two builds differ: diffoscope ${deb} ${again} tells in what`);
  }
  fs.rmSync(path.dirname(again), { recursive: true });
  say("a second build gave the same bytes");
  if (output("sh", ["-c", "command -v lintian || true"]) === "") return say("lintian is not installed: not asked");
  run("lintian", ["--fail-on", "error", "--tag-display-limit", "0", "--allow-root", deb]);
  say("lintian has no error");
}
