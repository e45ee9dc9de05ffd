// SPDX-License-Identifier: MIT
/** The lab itself, and ioreqd at its plainest: a guest created paused, a daemon started by hand. */

import { bootGuest } from "./lab/boot-guest.js";
import { Dom0 } from "./lab/dom0.js";
import type { Guest } from "./lab/guests.js";
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

describe("a guest", () => {
  test("with two vCPUs boots, and lists its PCI devices", async () => {
    const guest = await bootGuest(dom0, { name: "plain", vcpus: 2 });
    try {
      expect((await guest.sh("grep -c ^processor /proc/cpuinfo")).output).toMatch(/^2$/m);
      expect((await guest.sh("lspci -nn")).output).toMatch(/00:01\.0 ISA bridge .*\[8086:7000\]/);
    } finally {
      await guest.destroy();
    }
  });

  test("created paused is served by `ioreqd run`, and nothing is left of it afterwards", async () => {
    const unit = (guest: Guest) => `ioreqd-by-hand-${guest.domid}`;
    const guest = await bootGuest(dom0, { name: "served" }, async (paused) => {
      const name = unit(paused);
      const run = `ioreqd run --domid ${paused.domid} --device edu,addr=00:10.0 --state-dir /run/${name}`;
      await dom0.sh(`systemd-run --unit ${name} --property=Type=notify --property=RuntimeDirectory=${name} ${run}`);
    });
    try {
      const listed = (await guest.sh("lspci -nn -v -d 1234:11e8")).output;
      expect(listed).toMatch(/00:10\.0 .*\[1234:11e8\]/);
      expect(listed).toMatch(/Memory at [0-9a-f]{8} \(32-bit, non-prefetchable\) .*\[size=1M\]/);
    } finally {
      await guest.destroy();
      await dom0.sh(`systemctl stop ${unit(guest)}`, { check: false });
    }
    expect((await dom0.sh("xl list")).stdout.trim().split("\n").slice(1).join("\n")).toMatch(/^Domain-0 .*$/);
    expect((await dom0.sh("pgrep -fa '[i]oreqd run|[q]emu-system.*served'", { check: false })).stdout).toBe("");
  });
});
