// SPDX-License-Identifier: MIT
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/base/place.js";

test("the simulated Xen passes its own tests: a server in C against the protocol, fact by fact", () => {
  const { status, stdout, stderr } = spawnSync("make", ["-C", join(PACKAGE_ROOT, "native", "xensim"), "test"], {
    encoding: "utf8",
  });
  expect({ status, said: status === 0 ? "" : stdout + stderr }).toEqual({ status: 0, said: "" });
}, 120_000);
