// SPDX-License-Identifier: MIT
/** Messages from a device to a guest, through a real ioreqd and the simulated host's libraries. */

import { join } from "node:path";
import { runSim } from "../../src/sim/index.js";
import { deviceArguments, TREE } from "../guest-suite/case.js";
import { PROGRAM, withDirectory } from "../support/ioreqd.js";
import { PROGRAMS } from "./messages-guest.js";

const GUEST = join(__dirname, "messages-guest.js");

/** Run a program of messages-guest.ts. `options`: of msix-probe, as on the command line. */
function run(program: keyof typeof PROGRAMS, options = "", vcpus = 1): Promise<void> {
  const probe = `msix-probe,addr=${TREE["msix-probe"]}`;
  const devices = deviceArguments().map((word) => (word === probe ? `${probe}${options}` : word));
  return withDirectory(async (directory) => {
    const { problems, leftovers } = await runSim({
      guest: GUEST,
      guestArguments: [program],
      vcpus,
      command: [process.execPath, PROGRAM, "run", ...devices, "--state-dir", join(directory, "state")],
      commandOutput: () => {},
      handleSignals: false,
    });
    expect(problems).toEqual([]);
    expect(leftovers).toEqual({ servers: 0, clients: 0, mappedPages: 0 });
  });
}

test.each(["", ",vectors=1", ",vectors=33,layout=two", ",vectors=2048", ",vectors=2048,layout=two"])(
  "every vector that is fired arrives, once and with its own address and data (msix-probe%s)",
  (options) => run("unmasked", options),
);

test.each(["", ",vectors=100,layout=two"])(
  "what is asked for twice while it is masked arrives once, when it is unmasked (msix-probe%s)",
  (options) => run("maskedOneByOne", options),
);

test("the function's mask holds all back, and what its entry masks goes on waiting", () =>
  run("functionMasked", ",vectors=64"));

test("a function that is no bus master, or has messages disabled, sends later what it was asked for", () =>
  run("held"));

test("while one vCPU masks what the other fires, none is lost and none comes twice", () =>
  run("raced", ",vectors=5", 2));

test("MSI: each message by its number, masks, and folding where fewer are allowed", () => run("byMsi"));

test("a message that is bound to an event channel goes whatever its mask bit says", () => run("eventChannels"));

test("the line stays down while messages are enabled", () => run("pinOrMessages"));

test("edu's computation ends with a message, where MSI is enabled", () => run("eduDone"));

test("every program has a test", () => {
  expect(Object.keys(PROGRAMS)).toHaveLength(9);
});
