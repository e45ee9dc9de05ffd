// SPDX-License-Identifier: MIT
/* The tree of files as it is installed. */
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { gzipSync } = require("node:zlib");
const { APART, bundle } = require("./bundle.cjs");
const { PREFIX, fail, filesBelow, isElf, output, root, run } = require("./common.cjs");

const NODE = `/${PREFIX}/runtime/bin/node`;
const DOC = "usr/share/doc/ioreqd";

function stage(tree, { modules, runtime, version }) {
  const own = path.join(tree, PREFIX);
  fs.mkdirSync(own, { recursive: true });

  for (const name of ["bin/node", "LICENSE"]) copy(path.join(runtime.directory, name), path.join(own, "runtime", name));
  copy(path.join(root, "package.json"), path.join(own, "package.json"));
  // Types are for the editors of those who write devices.
  copyTree(path.join(root, "dist/src"), path.join(own, "dist/src"), (name) => name.endsWith(".d.ts"));
  bundle(path.join(root, "dist/src"), path.join(own, "dist/src"), `node${runtime.version.slice(1)}`);
  for (const name of withDependencies(modules, APART)) {
    const from = path.join(modules, name);
    const wanted = (file) => isNeeded(`${name}/${file}`) && !isScript(path.join(from, file));
    copyTree(from, path.join(own, "node_modules", name), wanted);
  }
  // The addon, and the simulated Xen for `ioreqd demo`: not what they were linked from.
  const native = (name) => name === "addon.node" || /^xensim\/(host\.node|lib\/)/.test(name);
  copyTree(path.join(root, "native/build"), path.join(own, "native/build"), native);
  withRuntime(path.join(root, "bin/ioreqd"), path.join(own, "bin/ioreqd"));
  copyTree(path.join(root, "bin"), path.join(own, "bin"), (name) => name !== "ioreqd");
  link(tree, "usr/bin/ioreqd", `../lib/ioreqd/bin/ioreqd`);

  copyTree(path.join(root, "systemd"), path.join(tree, "usr/lib/systemd/system"));
  copy(path.join(root, "packaging/ioreqd.conf"), path.join(tree, "etc/ioreqd/ioreqd.conf"));
  fs.mkdirSync(path.join(tree, "etc/ioreqd/guests"));
  const completion = path.join(tree, "usr/share/bash-completion/completions/ioreqd");
  write(completion, output(process.execPath, [path.join(root, "bin/ioreqd"), "completion", "bash"]).concat("\n"));

  // The manuals link to each other by these places.
  copy(path.join(root, "README.md"), path.join(tree, DOC, "README.md"));
  copyTree(path.join(root, "docs"), path.join(tree, DOC, "docs"));
  copyTree(path.join(root, "examples"), path.join(tree, DOC, "examples"));
  copyright(path.join(tree, DOC, "copyright"), modules);
  changelog(path.join(tree, DOC, "changelog.gz"), version);
  for (const page of fs.readdirSync(path.join(root, "man"))) {
    const file = path.join(tree, "usr/share/man", `man${page.split(".").at(-1)}`, `${page}.gz`);
    compress(file, fs.readFileSync(path.join(root, "man", page)));
  }
  copy(path.join(root, "packaging/lintian-overrides"), path.join(tree, "usr/share/lintian/overrides/ioreqd"));

  for (const name of filesBelow(tree)) finish(path.join(tree, name));
}

/** Modules, and those that they need on this platform. */
function withDependencies(modules, names) {
  const found = new Set();
  const visit = (name) => {
    const manifest = path.join(modules, name, "package.json");
    if (found.has(name) || !fs.existsSync(manifest)) return;
    found.add(name);
    const { dependencies, optionalDependencies } = JSON.parse(fs.readFileSync(manifest, "utf8"));
    for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) visit(dependency);
  };
  names.forEach(visit);
  return found;
}

/** Of a module: not its sources and tests, nor what only a compiler reads, nor another C library's binary. */
function isNeeded(name) {
  if (/(^|\/)\.|(^|\/)(test|tests|bench|benchmarks|docs?|examples?)\//.test(name)) return false;
  if (/\.(map|md|markdown|[cm]?ts|cc|hh?|inc|S|asm|gyp|yml|png|html)$/.test(name) && !/licen[cs]e/i.test(name))
    return false;
  return !/^koffi\/vendor\/|\/koffi-linux-[^/]+\/musl_/.test(name);
}

/** A module's own command line is nothing of ours. */
const isScript = (file) => fs.readFileSync(file).subarray(0, 2).toString() === "#!";

/** The program, run by the Node.js of the package whatever else is installed. */
function withRuntime(from, to) {
  const source = fs.readFileSync(from, "utf8");
  if (!source.startsWith("#!/usr/bin/env node\n")) fail(`${from} does not begin with #!/usr/bin/env node`);
  write(to, source.replace("#!/usr/bin/env node", `#!${NODE}`));
}

/** The licences of ioreqd and of the modules, each text once. That of Node.js stands beside it. */
function copyright(to, modules) {
  const texts = new Map();
  const note = (what, text) => texts.set(text, [...(texts.get(text) ?? []), what]);
  for (const name of filesBelow(modules).filter((file) => /(^|\/)package\.json$/.test(file) && isNeeded(file))) {
    const directory = path.dirname(path.join(modules, name));
    const { name: module, version, license } = JSON.parse(fs.readFileSync(path.join(modules, name), "utf8"));
    // Some modules have package.json files further in, which only say how files are to be read.
    if (module === undefined || version === undefined) continue;
    const file = fs.readdirSync(directory).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
    const text = file === undefined ? `Licence: ${license}` : fs.readFileSync(path.join(directory, file), "utf8");
    note(`node_modules/${path.dirname(name)} ${version} (${license})`, text.trim());
  }
  const parts = [...texts].map(([text, names]) => `${names.sort().join("\n")}\n\n${text}\n`).sort();
  const head = fs.readFileSync(path.join(root, "packaging/copyright"), "utf8");
  const own = fs.readFileSync(path.join(root, "LICENSE"), "utf8");
  const rule = `\n${"-".repeat(78)}\n\n`;
  write(to, [head + own, ...parts].join(rule));
}

/** Policy wants one whose newest entry is of this version. */
function changelog(to, version) {
  const text = fs.readFileSync(path.join(root, "packaging/changelog"), "utf8");
  const [, newest] = /^ioreqd \(([^)]+)\)/.exec(text) ?? [];
  if (newest !== version) fail(`packaging/changelog begins with version ${newest}, package.json has ${version}`);
  compress(to, text);
}

/** Links keep what they say, programs stay programs, and binaries lose what only their linker needed. */
function finish(file) {
  const stat = fs.lstatSync(file);
  if (stat.isSymbolicLink()) return;
  if (isElf(file)) run("strip", ["--strip-unneeded", "--remove-section=.comment", "--remove-section=.note", file]);
  const isProgram = /\/lib\/ioreqd\/(runtime\/)?bin\/[^/]+$/.test(file);
  fs.chmodSync(file, isProgram ? 0o755 : 0o644);
}

function copyTree(from, to, wanted = () => true) {
  for (const name of filesBelow(from).filter(wanted)) copy(path.join(from, name), path.join(to, name));
}

function copy(from, to) {
  fs.mkdirSync(path.dirname(to), { recursive: true });
  if (fs.lstatSync(from).isSymbolicLink()) fs.symlinkSync(fs.readlinkSync(from), to);
  else fs.copyFileSync(from, to);
}

function link(tree, at, target) {
  fs.mkdirSync(path.dirname(path.join(tree, at)), { recursive: true });
  fs.symlinkSync(target, path.join(tree, at));
}

function write(to, text) {
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.writeFileSync(to, text);
}

/** gzip without a time in its header, so that it is the same each time. */
const compress = (to, text) => write(to, gzipSync(text, { level: 9 }));

module.exports = { stage };
