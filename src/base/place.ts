// SPDX-License-Identifier: MIT
/** Where ioreqd is, and where its own files are. */

import { join } from "node:path";

/**
 * The root of the package, seen from dist/src/DIRECTORY. Nothing else asks where its own file is: a package for dom0 has
 * most of the program in one (scripts/package/bundle.cjs).
 */
export const PACKAGE_ROOT = join(__dirname, "..", "..", "..");

/** A compiled file of the program, by its name below src: "index.js". */
export const ownFile = (name: string): string => join(PACKAGE_ROOT, "dist", "src", name);
