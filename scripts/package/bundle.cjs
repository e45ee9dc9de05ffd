// SPDX-License-Identifier: MIT
/*
 * The program as one file. A guest waits for the process that takes over, and that one would spend half of its start on
 * finding, reading and compiling 160 modules.
 */
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const esbuild = require("esbuild");
const { fail, root } = require("./common.cjs");

/** Modules that stay outside: a native one, and a compiler that few processes load. */
const APART = ["koffi", "jiti"];

/** What is asked for by file (src/base/place.ts) is a part of that one file: there must be one copy of each class. */
const DOORS = ["index.js", "sim/vcpu-worker.js", "sim/guests/demo.js", "sim/guests/idle.js"];

/** `code`: dist/src, as it was compiled. `to`: that of the package. `target`: the Node.js that runs it, "node24.21.0". */
function bundle(code, to, target) {
  const door = (name) => `get ${JSON.stringify(name)}() { return require("./${name}"); }`;
  const own = ["get main() { return require('./cli/main.js').main; }", "compiled: require('./base/compiled.js')"];
  const contents = `module.exports = { ${[...own, ...DOORS.map(door)]} };`;
  const program = path.join(to, "cli/program.js");
  esbuild.buildSync({
    stdin: { contents, resolveDir: code, sourcefile: "program.js" },
    outfile: program,
    bundle: true,
    platform: "node",
    // The main files of some modules call `require` by another name, which leaves it as it is.
    mainFields: ["module", "main"],
    target,
    external: APART,
    // The package has the licences of all (usr/share/doc/ioreqd/copyright).
    legalComments: "none",
    logLevel: "warning",
  });
  const [left] = /\brequire\d*\("\.[^)]*\)/.exec(fs.readFileSync(program, "utf8")) ?? [];
  if (left)
    fail(`the program in one file still has ${left}: esbuild did not see what that is (scripts/package/bundle.cjs)`);
  fs.copyFileSync(path.join(root, "packaging/loader.cjs"), path.join(to, "cli/main.js"));
  for (const name of DOORS) {
    const up = path.relative(path.dirname(name), "cli/main.js");
    const file = path.join(to, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, `"use strict";\nmodule.exports = require("./${up}")[${JSON.stringify(name)}];\n`);
  }
}

module.exports = { APART, bundle };
