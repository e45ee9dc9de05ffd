// SPDX-License-Identifier: MIT
/** What is left to a process that serves a guest. The kernel's part of it is judged on a real Xen: confine.xen.ts. */

import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
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

onlyRoot(
  "devices come and go, and what can't be opened any more is refused with as whom and what to do",
  async () => {
    await supervised(guestProgram(""), ["--device", "counter,addr=10.0", "--confine"], async (all) => {
      await all.start();
      const add = (spec: string) => control(all.path("state/1/control"), "device.add", { spec });
      const asUser = `is confined: it opens files as user ${0x7000_0001}, .* chown or chmod; .* ReadWritePaths=`;

      mkdirSync(all.path("roots"), { mode: 0o700 });
      const module = all.path("roots/mine.js");
      writeFileSync(module, `module.exports = { name: "mine", ident: { vendor: 1, device: 2, classCode: 0xff0000 } };`);
      await expect(add(module)).rejects.toThrow(new RegExp(`there is no file .*${asUser}`));
      await expect(add(`pci-serial,chardev=file:${all.path("roots/log")}`)).rejects.toThrow(
        new RegExp(`chardev file:.*EACCES.*${asUser}`),
      );
      await expect(add(`pci-serial,chardev=unix:${all.path("roots/socket")}`)).rejects.toThrow(new RegExp(asUser));
      await expect(add(`counter,romfile=${all.path("roots/rom")}`)).rejects.toThrow(new RegExp(asUser));

      chmodSync(all.directory, 0o755);
      chmodSync(all.path("roots"), 0o755);
      expect(await add(`${module},addr=11.0,id=mine`)).toMatchObject({ device: "mine" });
      expect(await add("pci-serial,addr=12.0,chardev=pty")).toMatchObject({
        chardevs: [{ spec: "pty", path: expect.stringMatching(/^\/dev\/pts\/\d+$/) }],
      });
      const state = ["--state-dir", all.path("state")];
      expect(all.ioreqd("device", "list", "1", ...state).stdout).toMatch(/counter[\s\S]*mine[\s\S]*pci-serial/);
      expect(all.ioreqd("device", "remove", "1", "mine", ...state)).toMatchObject({ status: 0, stderr: "" });
      expect(all.ioreqd("device", "revive", "1", "12.0", ...state).stderr).toMatch(/NOT_QUARANTINED/);
      expect(all.ioreqd("inspect", "1", ...state).stdout).toMatch(/^domain 1: process \d+/);
      expect(all.ioreqd("abandon", "1", ...state).stderr).toMatch(/DOMAIN_SERVED: domain 1 is served by process \d+/);
    });
  },
  120_000,
);
