// SPDX-License-Identifier: MIT
/** Where ioreqd is, and where its own files are. */

import { join } from "node:path";

/**
 * The root of the package, seen from dist/src/DIRECTORY. Nothing else asks where its own file is: a package for dom0 has
 * most of the program in one (scripts/package/bundle.cjs).
 */
export const PACKAGE_ROOT = join(__dirname, "..", "..", "..");

/** The simulated Xen, once built, and what its client libraries are in: libxendevicemodel.so.1 and its friends. */
export const XENSIM_BUILD = join(PACKAGE_ROOT, "native", "build", "xensim");
export const XENSIM_LIBRARIES = join(XENSIM_BUILD, "lib");

/** A compiled file of the program, by its name below src: "index.js". */
export const ownFile = (name: string): string => join(PACKAGE_ROOT, "dist", "src", name);
