// SPDX-License-Identifier: MIT
/** The lab itself: a real Xen, a healthy dom0, ioreqd from its package. */

import { Dom0 } from "./lab/dom0.js";
import { labDirectory } from "./lab/lab-files.js";

let dom0: Dom0;
beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
});
afterAll(() => dom0.close());

describe("dom0", () => {
  test("runs on Xen 4.17 or newer, and xl sees itself", async () => {
    const version = (await dom0.sh("cat /sys/hypervisor/version/major /sys/hypervisor/version/minor")).stdout;
    const [major = 0, minor = 0] = version.split("\n").map(Number);
    expect(major * 100 + minor).toBeGreaterThanOrEqual(417);
    expect((await dom0.sh("xl list")).stdout).toMatch(/^Domain-0 +0 /m);
  });

  test("has no failed units", async () => {
    expect((await dom0.sh("systemctl --failed --no-legend --plain")).stdout).toBe("");
  });

  test("has ioreqd, whose doctor finds nothing wrong", async () => {
    expect((await dom0.sh("ioreqd doctor")).stdout).toMatch(/guests can be served here/);
  });
});
