// SPDX-License-Identifier: MIT
/** Modules that the user names on the command line: devices and guest programs, in TypeScript or JavaScript. */

import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { types } from "node:util";
import { IoreqdError, messageOf } from "./errors.js";
import { ownFile } from "./place.js";

/** What `import ... from "ioreqd"` means in such a module: this very copy, so that classes and tables are the same ones. */
const OWN_INDEX = ownFile("index.js");

/** Of this program; one module of it that is there twice would have classes that are not the same. */
const OWN_CODE = ownFile("/");

/**
 * Load a module and return what it exports (for an ES module, its namespace; for a
 * CommonJS module, `module.exports`). `path` is relative to the working directory.
 *
 * TypeScript types are dropped, not checked. Top-level `await` is not possible.
 * `cache`: a directory for what is compiled, worth its while where several threads load the same module.
 * Throws MODULE_NOT_FOUND, or MODULE_LOAD_FAILED with what the module threw as its cause.
 */
export function loadModule(path: string, cache?: string): unknown {
  const file = resolve(path);
  if (!existsSync(file) || !statSync(file).isFile()) {
    throw new IoreqdError("MODULE_NOT_FOUND", `load ${path}: there is no file ${file}`, { path, file });
  }
  // The compiler takes a while to load, and most runs need none.
  const { createJiti } = require("jiti") as typeof import("jiti");
  // No cache unless asked: jiti's own choice of place is beside the user's file, where dom0's root should not write.
  const load = createJiti(OWN_INDEX, { fsCache: cache ?? false, interopDefault: false, alias: { ioreqd: OWN_INDEX } });
  try {
    return load(file);
  } catch (error) {
    const hint = /await is only valid/.test(messageOf(error)) ? " (top-level await is not possible here)" : "";
    throw new IoreqdError(
      "MODULE_LOAD_FAILED",
      `load ${path}: ${messageOf(error).trim()}${hint}`,
      { path, file },
      { cause: error },
    );
  }
}

/**
 * The default export of a module; of a CommonJS module without one, `module.exports`; of an ES module
 * without one, undefined. Throws as loadModule does.
 */
export function loadDefault(path: string, cache?: string): unknown {
  const exported = loadModule(path, cache);
  if (typeof exported !== "object" || exported === null) return exported;
  if ("default" in exported) return exported.default;
  return "__esModule" in exported || types.isModuleNamespaceObject(exported) ? undefined : exported;
}

/** A module that is worked on: loaded anew each time, with all that it imports, except packages and this program. */
export class FreshModule {
  readonly path: string;
  /** It and what it imported, the last time and the time before: a mistake in any of these is mended there. */
  files: ReadonlySet<string>;
  #own: readonly string[] = [];

  constructor(path: string) {
    this.path = resolve(path);
    this.files = new Set([this.path]);
  }

  /** Throws as loadDefault() does; then what was loaded before goes on as it is. */
  load(): unknown {
    const before = this.#own;
    for (const file of before) delete require.cache[file];
    const others = new Set(Object.keys(require.cache));
    try {
      return loadDefault(this.path);
    } finally {
      this.#own = Object.keys(require.cache).filter(
        (file) => !others.has(file) && !file.startsWith(OWN_CODE) && !file.includes("/node_modules/"),
      );
      this.files = new Set([this.path, ...before, ...this.#own]);
    }
  }
}
