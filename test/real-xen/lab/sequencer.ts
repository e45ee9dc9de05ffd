// SPDX-License-Identifier: MIT
/** The order in which jest runs the suites of a group: a jest `testSequencer`, which has these methods. */

import { inOrder } from "./suites.js";

type Suites = ReadonlyArray<{ readonly path: string }>;

export default class {
  sort(suites: Suites): Suites {
    return inOrder(suites);
  }

  shard(suites: Suites): Suites {
    return suites;
  }

  allFailedTests(suites: Suites): Suites {
    return suites;
  }

  cacheResults(): void {}
}
