// SPDX-License-Identifier: MIT
/** What libxl does as it saves, restores and migrates a guest, and what comes of it: its files, its arguments for QEMU. */

import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { domId } from "../../src/base/ids.js";
import { keptState } from "../../src/cli/find-saved.js";
import { SIM_DOMID } from "../../src/sim/host.js";
import { readSnapshot } from "../../src/state/snapshot.js";
import { type Launched, NODE, withLaunched } from "../support/launched.js";

const PATIENCE_MS = 120_000;
const INCOMING = ["-incoming", "fd:5"];
const COUNTER = ["-ioreqd", "counter,addr=10.0"];

const count = (launched: Launched, pattern: RegExp): number => (launched.log().match(pattern) ?? []).length;
const SAVED = /suspended to be saved/g;

/** The guest is suspended, and QEMU writes what it knows; resolves when ioreqd has, too. */
async function suspend(launched: Launched): Promise<void> {
  const before = count(launched, SAVED);
  const file = join(launched.libxlDir, `qemu-save.${SIM_DOMID}`);
  writeFileSync(file, "QEMU");
  appendFileSync(file, "its devices");
  while (count(launched, SAVED) === before) await launched.logged(SAVED);
}

async function destroy(launched: Launched): Promise<void> {
  launched.host.destroyDomain();
  launched.store.release(SIM_DOMID);
  await launched.logged(/"stopped"/);
}

const paths = (file: string): string[] => readSnapshot(readFileSync(file)).devices.map(({ path }) => path);

/** What a guest with two devices left as it was saved. */
async function savedGuest(): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  await withLaunched(async (launched) => {
    expect(await launched.deviceModel(...COUNTER)).toMatchObject({ status: 0 });
    const { uuid, savedDir, stateDir } = launched;
    await launched.ioreqd("device", "add", "1", "edu,addr=11.0");
    await suspend(launched);
    expect(existsSync(join(savedDir, uuid))).toBe(false);
    await destroy(launched);
    const kept = join(savedDir, uuid);
    expect(statSync(kept).mode & 0o777).toBe(0o600);
    expect(statSync(savedDir).mode & 0o777).toBe(0o700);
    expect(readdirSync(savedDir)).toEqual([uuid]);
    expect(existsSync(join(stateDir, "1"))).toBe(false);
    bytes = readFileSync(kept);
  });
  return bytes;
}

test(
  "a guest that is saved leaves what its devices knew, and one that is restored begins with it",
  async () => {
    const bytes = await savedGuest();
    await withLaunched(async (launched) => {
      mkdirSync(launched.savedDir);
      writeFileSync(join(launched.savedDir, launched.uuid), bytes);
      expect(await launched.deviceModel(...INCOMING, ...COUNTER)).toMatchObject({ status: 0, stderr: "" });
      expect(launched.log()).toMatch(/"restored":true/);
      // The device that was added while the guest ran is there, too.
      const { stdout } = await launched.ioreqd("device", "list", "1");
      expect(stdout).toMatch(/0000:00:10\.0 +counter[\s\S]*0000:00:11\.0 +edu/);
      expect(readFileSync(launched.qemuArguments, "utf8")).toContain("-incoming\nfd:5\n");
      expect(launched.store.values(NODE)).not.toHaveProperty([`${NODE}/restore`]);
      // A file of its own; that of the save can be restored once more.
      expect(existsSync(join(launched.savedDir, launched.uuid))).toBe(true);
    });
  },
  PATIENCE_MS,
);

test(
  "by hand a file is taken up by ioreqd attach, and ioreqd save writes it again",
  async () => {
    const bytes = await savedGuest();
    await withLaunched(async (launched) => {
      const file = join(launched.libxlDir, "by-hand");
      writeFileSync(file, bytes);
      const attached = await launched.ioreqd("attach", "guest", "--restore", file);
      expect(attached).toMatchObject({ status: 0, stdout: expect.stringContaining("counter, edu") as string });
      expect(await launched.ioreqd("save", "guest")).toMatchObject({ status: 0 });
      expect(paths(join(launched.savedDir, launched.uuid))).toEqual(["0000:00:10.0", "0000:00:11.0"]);
    });
  },
  PATIENCE_MS,
);

test(
  "a slot that QEMU has on the new host is refused for a device that comes with the guest",
  async () => {
    const bytes = await savedGuest();
    await withLaunched(async (launched) => {
      mkdirSync(launched.savedDir);
      writeFileSync(join(launched.savedDir, launched.uuid), bytes);
      const { stderr } = await launched.deviceModel(...INCOMING, "-device", "virtio-rng-pci,addr=0x11", ...COUNTER);
      expect(stderr).toContain("SLOT_TAKEN: edu at 0000:00:11.0");
      expect(launched.store.values(NODE)).toEqual({});
    });
  },
  PATIENCE_MS,
);

test(
  "a guest that is restored without the state of its devices is refused, saying where it was looked for and what to do",
  () =>
    withLaunched(async (launched) => {
      const { stderr, status } = await launched.deviceModel(...INCOMING, ...COUNTER);
      expect(status).toBe(1);
      expect(stderr).toContain(`SAVED_STATE_MISSING: domain 1 (guest) is restored`);
      expect(stderr).toContain(join(launched.savedDir, launched.uuid));
      expect(stderr).toMatch(/"withoutState": "fresh" in .*guests\/guest\.conf/);
      expect(existsSync(launched.qemuArguments)).toBe(false);
      expect(launched.store.values(NODE)).toEqual({});
      // The operator's way out; xl calls a guest that is migrated so until it is there.
      launched.store.write(`/local/domain/${SIM_DOMID}/name`, "guest--incoming");
      launched.guestFile("guest.conf", '{ "withoutState": "fresh" }');
      expect(await launched.deviceModel(...INCOMING, ...COUNTER)).toMatchObject({ status: 0 });
      expect(readFileSync(launched.deviceModelLog, "utf8")).toContain("they begin as after power-on");
    }),
  PATIENCE_MS,
);

test(
  "a state that is damaged is refused, and nothing is started",
  () =>
    withLaunched(async (launched) => {
      mkdirSync(launched.savedDir);
      writeFileSync(join(launched.savedDir, launched.uuid), "{}\n");
      const { stderr, status } = await launched.deviceModel(...INCOMING, ...COUNTER);
      expect([status, stderr]).toEqual([1, expect.stringContaining("SNAPSHOT_INVALID")]);
      expect(launched.store.values(NODE)).toEqual({});
    }),
  PATIENCE_MS,
);

test(
  "a guest that goes on after it was saved is served as before, and what is kept is that of the last save",
  () =>
    withLaunched(async (launched) => {
      const { uuid } = launched;
      expect(await launched.deviceModel(...COUNTER)).toMatchObject({ status: 0 });
      const file = join(launched.stateDir, "1", `${uuid}.saved`);
      await suspend(launched);
      expect(paths(file)).toEqual(["0000:00:10.0"]);
      expect(await launched.ioreqd("device", "add", "1", "edu,addr=11.0")).toMatchObject({ status: 0 });
      expect(paths(file)).toEqual(["0000:00:10.0"]);
      await suspend(launched);
      expect(paths(file)).toEqual(["0000:00:10.0", "0000:00:11.0"]);
      // What was added since is not in it.
      await launched.ioreqd("device", "remove", "1", "11.0", "--force");
      await destroy(launched);
      expect(paths(join(launched.savedDir, uuid))).toEqual(["0000:00:10.0", "0000:00:11.0"]);
    }),
  PATIENCE_MS,
);

test(
  "a guest that is saved while nobody serves it is saved by the process that takes over",
  () =>
    withLaunched(async (launched) => {
      const { uuid } = launched;
      expect(await launched.deviceModel(...COUNTER)).toMatchObject({ status: 0 });
      process.kill(Number(launched.key("pid")), "SIGKILL");
      writeFileSync(join(launched.libxlDir, `qemu-save.${SIM_DOMID}`), "QEMU");
      launched.runInBackground("run", "--domid", "1");
      await launched.logged(SAVED);
      await destroy(launched);
      expect(paths(join(launched.savedDir, uuid))).toEqual(["0000:00:10.0"]);
    }),
  PATIENCE_MS,
);

test(
  "a migration within the host takes what the process says that serves the guest, not what an earlier save left",
  () =>
    withLaunched(async (launched) => {
      expect(await launched.deviceModel(...COUNTER)).toMatchObject({ status: 0 });
      await suspend(launched);
      await launched.ioreqd("device", "add", "1", "edu,addr=11.0");
      const { uuid, stateDir, savedDir } = launched;
      const kept = (isThere: boolean) =>
        keptState({ domid: domId(2), uuid }, { stateDir, savedDir }, () => Promise.resolve(isThere));
      const both = ["0000:00:10.0", "0000:00:11.0"];
      expect(paths((await kept(true)) as string)).toEqual(both);
      // Its process has died, and another takes over.
      rmSync(savedDir, { recursive: true });
      process.kill(Number(launched.key("pid")), "SIGKILL");
      const later = kept(true);
      launched.runInBackground("run", "--domid", "1");
      expect(paths((await later) as string)).toEqual(both);
      // The domain has ended: what was written when it was saved.
      rmSync(savedDir, { recursive: true });
      expect(paths((await kept(false)) as string)).toEqual(["0000:00:10.0"]);
    }),
  PATIENCE_MS,
);
