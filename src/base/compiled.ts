// SPDX-License-Identifier: MIT
/** What the engine has compiled of the program, kept for the next process, which starts in a part of the time. */

import nodeModule from "node:module";

let keep = (): void => {};

/** Where the program is one file, its loader keeps more of it (packaging/loader.cjs). */
export function keepCompiledBy(keeper: () => void): void {
  keep = keeper;
}

/** Of itself it is kept as the process ends, which one that is killed never sees, and one that has given up root may not. */
export function keepCompiled(): void {
  // The cache of Node.js 22.10 and later, which bin/ioreqd switches on.
  (nodeModule as { flushCompileCache?: () => void }).flushCompileCache?.();
  keep();
}
