// SPDX-License-Identifier: MIT
/** What is left to a process that serves a guest. The kernel's part of it is judged on a real Xen: confine.xen.ts. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { control } from "../../src/control/client.js";
import { guestProgram } from "../support/ioreqd.js";
import { type Supervised, supervised } from "../takeover/supervised.js";

const onlyRoot = process.getuid?.() === 0 ? test : test.skip;
const READING = guestProgram(`
  place(vcpu);
  for (let n = 0; n < 3; n += 1) vcpu.step("read", { value: vcpu.read(MEMORY, 4) });
  while (vcpu.read(MEMORY + 4, 4) < 5) vcpu.read(MEMORY, 4);
`);

/** Fields of /proc/PID/status, four ids each. */
const idsOf = (all: Supervised, field: "Uid" | "Gid" | "Groups"): string =>
  new RegExp(`^${field}:[ \\t]*(.*)$`, "m").exec(readFileSync(`/proc/${all.pid}/status`, "utf8"))?.[1]?.trim() ?? "";
const added = async (all: Supervised): Promise<Record<string, unknown>> => {
  await control(all.path("state/1/control"), "device.add", { spec: `${join(__dirname, "intruder.js")},addr=1f.0` });
  return Object.fromEntries(all.said("intruder").map(({ attempt, outcome }) => [String(attempt), outcome]));
};

onlyRoot(
  "a confined process serves its guest as a user of the guest's own, and dies and is replaced like any other",
  async () => {
    await supervised(
      READING,
      ["--device", "counter,addr=10.0", "--confine"],
      async (all) => {
        await all.start();
        const uid = String(0x7000_0001);
        expect(idsOf(all, "Uid").split("\t")).toEqual([uid, uid, uid, uid]);
        expect(idsOf(all, "Gid").split("\t")).toEqual([uid, uid, uid, uid]);
        expect(idsOf(all, "Groups")).toBe("");
        await all.end();
        expect(await all.start()).toMatchObject({ takenOver: true });
        all.begin();
        await expect(all.guest.done).resolves.toMatchObject({ ok: true });
      },
      { vcpus: 1 },
    );
  },
  120_000,
);

onlyRoot(
  "code that turns against the host finds every door closed",
  async () => {
    await supervised(guestProgram(""), ["--device", "counter,addr=10.0", "--confine"], async (all) => {
      await all.start();
      expect(await added(all)).toMatchObject({
        "read the passwords": "EACCES",
        "write /etc/ioreqd/x": expect.stringMatching(/EACCES|ENOENT/),
        "become root again": "EPERM",
        "signal another process": "EPERM",
      });
    });
  },
  120_000,
);
