// SPDX-License-Identifier: MIT
/*
 * The modules that ioreqd needs to run, exactly as package-lock.json has them: versions and integrity.
 *
 * ffi-napi and ref-napi stay out: they serve comparison only (a call costs over a hundred times koffi's), would add
 * 9 MB, and their native part is compiled on the building machine.
 */
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { fail, npmCi, root } = require("./common.cjs");

/** The directory with what `dependencies` need on this platform. */
function productionModules() {
  const lock = JSON.parse(fs.readFileSync(path.join(root, "package-lock.json"), "utf8"));
  const { name, version, license, dependencies } = lock.packages[""];
  const manifest = { name, version, license, dependencies };
  const packages = { "": manifest };
  const visit = (from, wanted, mayLack) => {
    for (const dependency of Object.keys(wanted ?? {})) {
      const at = resolve(lock.packages, from, dependency);
      if (at === null) fail(`package-lock.json has no ${dependency}, which ${from || "the root"} needs: npm install`);
      if (at in packages || (mayLack && !fits(lock.packages[at]))) continue;
      packages[at] = forThisPlatform(lock.packages, at);
      visit(at, packages[at].dependencies, false);
      visit(at, packages[at].optionalDependencies, true);
    }
  };
  visit("", dependencies, false);
  return npmCi("modules", manifest, { name, version, lockfileVersion: lock.lockfileVersion, requires: true, packages });
}

/** Where a module finds another: beside itself, then further up. */
function resolve(packages, from, name) {
  for (let at = from; ; at = at.slice(0, Math.max(at.lastIndexOf("/node_modules/"), 0))) {
    const candidate = at === "" ? `node_modules/${name}` : `${at}/node_modules/${name}`;
    if (candidate in packages) return candidate;
    if (at === "") return null;
  }
}

/** Without the optional dependencies of other platforms: npm would ask the registry for each. */
function forThisPlatform(packages, at) {
  const { optionalDependencies, ...entry } = packages[at];
  const fitting = Object.entries(optionalDependencies ?? {}).filter(([name]) => {
    const found = resolve(packages, at, name);
    return found !== null && fits(packages[found]);
  });
  return fitting.length === 0 ? entry : { ...entry, optionalDependencies: Object.fromEntries(fitting) };
}

const fits = ({ os, cpu }) =>
  (os === undefined || [os].flat().includes(process.platform)) &&
  (cpu === undefined || [cpu].flat().includes(process.arch));

module.exports = { productionModules };
