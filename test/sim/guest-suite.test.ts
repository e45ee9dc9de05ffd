// SPDX-License-Identifier: MIT
/** The suite of test/guest-suite on the simulated host: a real ioreqd, and a guest of two vCPUs without firmware. */

import { join } from "node:path";
import { runSim } from "../../src/sim/index.js";
import { deviceArguments } from "../guest-suite/case.js";
import { CASES } from "../guest-suite/index.js";
import { PROGRAM, withDirectory } from "../support/ioreqd.js";

const GUEST = join(__dirname, "..", "guest-suite", "program.js");

test.each(CASES)("$name", ({ name, vcpus }) =>
  withDirectory(async (directory) => {
    const { problems, leftovers } = await runSim({
      guest: GUEST,
      guestArguments: [name],
      vcpus,
      command: [process.execPath, PROGRAM, "run", ...deviceArguments(), "--state-dir", join(directory, "state")],
      commandOutput: () => {},
      handleSignals: false,
    });
    expect(problems).toEqual([]);
    expect(leftovers).toEqual({ servers: 0, clients: 0, mappedPages: 0 });
  }),
);
