// SPDX-License-Identifier: MIT
/* From a tree of files to a .deb: control files, dependencies, the archive. */
"use strict";

const { createHash } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { fail, filesBelow, isElf, output, root, run } = require("./common.cjs");

/**
 * xz, which all that handles packages reads (Debian's archive and its lintian refuse zstd), at its level 1: Node.js
 * makes up nearly all of it, and level 6 takes five times as long for a seventh less.
 */
const COMPRESSION = ["-Zxz", "-z1"];
const SCRIPTS = ["postinst", "prerm", "postrm"];

/** Seconds since 1970 that all files of the package bear: of the last commit, unless SOURCE_DATE_EPOCH says otherwise. */
const epoch = () => Number(process.env.SOURCE_DATE_EPOCH || output("git", ["log", "-1", "--format=%ct"]));

function buildDeb(tree, file, { architecture, epoch: seconds, version }) {
  const control = path.join(tree, "DEBIAN");
  const files = filesBelow(tree);
  fs.mkdirSync(control);
  const values = {
    VERSION: version,
    ARCHITECTURE: architecture,
    MAINTAINER: maintainer(),
    LIBRARIES: librariesOf(files.map((name) => path.join(tree, name))),
    SIZE: String(installedSize(tree, files)),
    SERVED: fs.readFileSync(path.join(root, "packaging/served.sh"), "utf8").trim(),
  };
  const template = (name, mode) => {
    const text = fs.readFileSync(path.join(root, "packaging", name), "utf8");
    const filled = text.replace(/@([A-Z]+)@/g, (whole, key) => values[key] ?? fail(`packaging/${name}: ${whole}?`));
    fs.writeFileSync(path.join(control, name), filled);
    fs.chmodSync(path.join(control, name), mode);
  };
  template("control", 0o644);
  for (const name of SCRIPTS) template(name, 0o755);
  const settings = files.filter((name) => name.startsWith("etc/"));
  fs.writeFileSync(path.join(control, "conffiles"), settings.map((name) => `/${name}\n`).join(""));
  fs.writeFileSync(path.join(control, "md5sums"), md5sums(tree, files));
  for (const name of ["conffiles", "md5sums"]) fs.chmodSync(path.join(control, name), 0o644);
  normalise(tree, seconds);
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(seconds) };
  run("dpkg-deb", ["--root-owner-group", ...COMPRESSION, "--build", tree, file], {
    env,
    stdio: ["ignore", "ignore", 2],
  });
}

/** Whoever builds a package for others answers for it. The variables are those of Debian's devscripts. */
function maintainer() {
  const { DEBFULLNAME: name = "The ioreqd authors", DEBEMAIL: mail = "ioreqd@packages.invalid" } = process.env;
  return `${name} <${mail}>`;
}

/** "libc6 (>= 2.34), libgcc-s1 (>= 3.0), …": the packages of what the binaries are linked with. */
function librariesOf(files) {
  const binaries = files.filter((file) => !fs.lstatSync(file).isSymbolicLink() && isElf(file));
  const directory = fs.mkdtempSync(path.join(root, "build", "shlibdeps-"));
  try {
    fs.mkdirSync(path.join(directory, "debian"));
    fs.writeFileSync(path.join(directory, "debian/control"), "Source: ioreqd\n\nPackage: ioreqd\nArchitecture: any\n");
    // The simulated Xen's libraries bear the real ones' names: what is linked with them finds them by its own path.
    const args = ["-O", "--ignore-missing-info", `-l${path.dirname(binaries.find(isSimulated))}`, ...binaries];
    const answer = output("dpkg-shlibdeps", args, { cwd: directory, stdio: ["ignore", "pipe", "ignore"] });
    const [, libraries] = /^shlibs:Depends=(.+)$/m.exec(answer) ?? [];
    return libraries ?? fail(`dpkg-shlibdeps found no libraries: ${answer}`);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

const isSimulated = (file) => file.includes("/xensim/lib/");

/** In KiB, as dpkg counts: each file rounded up, one for each directory. Source: deb-substvars(5), Installed-Size. */
function installedSize(tree, files) {
  const directories = new Set(files.flatMap((name) => ancestors(name)));
  const kib = (name) => {
    const stat = fs.lstatSync(path.join(tree, name));
    return stat.isSymbolicLink() ? 1 : Math.ceil(stat.size / 1024);
  };
  return files.reduce((sum, name) => sum + kib(name), directories.size);
}

const ancestors = (name) => (name === "." ? [] : [path.dirname(name), ...ancestors(path.dirname(name))]);

function md5sums(tree, files) {
  return files
    .filter((name) => !name.startsWith("etc/") && !fs.lstatSync(path.join(tree, name)).isSymbolicLink())
    .map((name) => {
      const digest = createHash("md5")
        .update(fs.readFileSync(path.join(tree, name)))
        .digest("hex");
      return `${digest}  ${name}\n`;
    })
    .join("");
}

/** The same modes and times whoever builds, and whenever. */
function normalise(directory, seconds) {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const at = path.join(directory, entry.name);
    if (entry.isDirectory()) normalise(at, seconds);
    else fs.lutimesSync(at, seconds, seconds);
  }
  fs.chmodSync(directory, 0o755);
  fs.utimesSync(directory, seconds, seconds);
}

module.exports = { buildDeb, epoch };
