// SPDX-License-Identifier: MIT
/** ioreqd as libxl's device model and as `ioreqd attach` start it: in the background, known through xenstore. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SIM_DOMID } from "../../src/sim/host.js";
import { Server } from "../support/beside.js";
import { NODE, withLaunched } from "../support/launched.js";
import { listen } from "../support/notify-socket.js";

test("ioreqd-dm serves the guest, then becomes QEMU with QEMU's own arguments", () =>
  withLaunched(async (launched) => {
    const args = ["-ioreqd", "edu,addr=10.0", "-display", "none", "-ioreqd", "counter"];
    expect(await launched.deviceModel(...args)).toMatchObject({ status: 0, stderr: "" });
    expect(readFileSync(launched.deviceModelLog, "utf8")).toContain("domain 1 is served by process");
    expect(readFileSync(launched.qemuArguments, "utf8").split("\n")).toEqual([
      ...["-xen-domid", "1", "-name", "guest", "-display", "none", "-m", "64", ""],
    ]);
    expect(launched.store.values(NODE)).toEqual({
      [`${NODE}/state`]: "running",
      [`${NODE}/pid`]: expect.stringMatching(/^\d+$/) as string,
      [`${NODE}/ioservid`]: "0",
      [`${NODE}/version`]: expect.stringMatching(/^\d+\.\d+\.\d+/) as string,
      [`${NODE}/device/0`]: "edu,addr=10.0",
      [`${NODE}/device/1`]: "counter",
    });
    expect(launched.host.ranges(0)).toHaveLength(2);
  }));

test("libxl's probe run is QEMU's alone", () =>
  withLaunched(async (launched) => {
    const { status, stdout } = await launched.ioreqd("dm", "--", "-S", "-machine", "none,accel=xen");
    expect([status, stdout.trim().endsWith("/qemu")]).toEqual([0, true]);
    expect(launched.store.values(NODE)).toEqual({});
  }));

test("a guest's own file says what to serve, with settings, comments and all", () =>
  withLaunched(async (launched) => {
    launched.guestFile("guest.conf", '{ "devices": ["edu,addr=11.0"], /* loud */ "log": { "verbosity": 1 }, }');
    expect(await launched.deviceModel("-ioreqd", "counter,addr=12.0")).toMatchObject({ status: 0 });
    expect(launched.log()).toMatch(/0000:00:11\.0 edu.*0000:00:12\.0 counter/);
    expect(launched.log()).toContain("ioreq server enabled");
  }));

test("ioreqd attach finds a guest by its name, and a second attach is refused", () =>
  withLaunched(async (launched) => {
    const first = await launched.ioreqd("attach", "guest", "--device", "edu");
    expect(first).toMatchObject({ status: 0, stdout: expect.stringMatching(/^domain 1 \(guest\): edu \(process \d+/) });
    const pid = launched.key("pid");
    const second = await launched.ioreqd("attach", "1", "--device", "counter");
    expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining(`is served by process ${pid} already`) });
    expect([launched.key("pid"), launched.key("device/0"), launched.key("state")]).toEqual([pid, "edu", "running"]);
  }));

test("keys are those of the process that was first: another leaves them be as it begins, is refused, ends, is abandoned", () =>
  withLaunched(async (launched) => {
    expect(await launched.deviceModel("-ioreqd", "edu,addr=12.0")).toMatchObject({ status: 0 });
    const before = launched.store.values(NODE);
    const beside = (device: string): Server =>
      new Server(`${launched.stateDir}.beside`, launched.environment, ["--domid", "1", "--device", device]);
    const endings = [
      async (second: Server) => expect(await second.end()).toBe(0),
      async (second: Server) => {
        await second.end("SIGKILL");
        expect(await launched.ioreqd("abandon", "1", "--state-dir", second.stateDir)).toMatchObject({ status: 0 });
      },
    ];
    for (const end of endings) {
      const second = await beside("counter,addr=13.0").ready();
      expect(launched.store.values(NODE)).toEqual(before);
      await end(second);
      expect(launched.store.values(NODE)).toEqual(before);
    }
    const refused = beside("counter,addr=12.0");
    expect(await refused.ended()).toBe(1);
    expect(refused.said).toContain("SLOT_TAKEN: 0000:00:12.0 is taken: ioreq server 0 of domain 1 has that function");
    expect(launched.store.values(NODE)).toEqual(before);
  }));

test("when the guest is destroyed, ioreqd lets go of it, removes its keys and its state, and ends", () =>
  withLaunched(async (launched) => {
    await launched.ioreqd("attach", "guest", "--device", "edu");
    expect(existsSync(join(launched.stateDir, "1"))).toBe(true);
    launched.host.destroyDomain();
    launched.store.release(SIM_DOMID);
    await launched.logged(/"stopped"/);
    expect(launched.log()).toContain("the guest has ended");
    expect(launched.log()).not.toContain("teardown step failed");
    expect(launched.host.mappedPages).toBe(0);
    expect(existsSync(join(launched.stateDir, "1"))).toBe(false);
    expect(launched.store.values(NODE)).toEqual({});
  }));

test("a guest that has only shut down is still served", () =>
  withLaunched(async (launched) => {
    await launched.ioreqd("attach", "guest", "--device", "edu");
    launched.store.shutDown();
    expect(await launched.ioreqd("inspect", "1", "--state-dir", launched.stateDir)).toMatchObject({ status: 0 });
    expect(launched.log()).not.toContain("stopping");
  }));

test("SIGTERM ends the process and leaves what is to be served, for the next one", () =>
  withLaunched(async (launched) => {
    await launched.ioreqd("attach", "guest", "--device", "edu");
    process.kill(Number(launched.key("pid")), "SIGTERM");
    await launched.logged(/"stopped"/);
    expect(launched.store.values(NODE)).toEqual({ [`${NODE}/device/0`]: "edu" });
    expect(launched.host.ranges(0)).toEqual([]);
  }));

test("without xenstored a guest that runs is still served, and its end is noticed by asking Xen", () =>
  withLaunched(async (launched) => {
    await launched.ioreqd("attach", "guest", "--device", "edu");
    launched.store.close();
    await launched.logged(/xenstore lost/);
    launched.host.destroyDomain();
    await launched.logged(/"stopped"/);
    expect(launched.host.mappedPages).toBe(0);
  }));

test.each<[string, string[], string]>([
  ["an unknown device", ["-ioreqd", "edx"], "did you mean edu?"],
  ["an option misspelt", ["-ioreqd", "edu,adr=10.0"], "did you mean addr?"],
  ["the argument misspelt", ["-iorqd", "edu", "--ioreqd", "edu"], "did you mean -ioreqd?"],
  ["nothing to serve", [], "NO_DEVICES"],
  ["a slot of QEMU's", ["-device", "virtio-blk-pci,addr=0x10", "-ioreqd", "edu"], "would shadow it"],
  ["two devices in one slot", ["-ioreqd", "edu,addr=10.0", "-ioreqd", "counter,addr=10.0"], "where edu is already"],
])("ioreqd-dm with %s fails before anything is created", (_what, args, message) =>
  withLaunched(async (launched) => {
    const { status, stderr } = await launched.deviceModel(...args);
    expect(stderr).toContain(message);
    expect(status).toBe(1);
    expect(existsSync(launched.qemuArguments)).toBe(false);
    expect(launched.store.values("/local/domain/0/device-model")).toEqual({});
  }),
);

test("ioreqd-dm without a QEMU to hand over to fails before anything is created", () =>
  withLaunched(async (launched) => {
    launched.configure({ qemu: "/nowhere/qemu" });
    const { status, stderr } = await launched.deviceModel("-ioreqd", "edu");
    expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining("QEMU_MISSING") });
    expect(launched.store.values("/local/domain/0/device-model")).toEqual({});
  }));

test("what the process itself finds wrong is what ioreqd-dm says, and nothing is left behind", () =>
  withLaunched(async (launched) => {
    // A state directory that can't be made: known only to who makes it.
    launched.configure({ stateDir: join(launched.qemuArguments, "below-a-file") });
    writeFileSync(launched.qemuArguments, "");
    const { status, stderr } = await launched.deviceModel("-ioreqd", "edu");
    expect(status).toBe(1);
    expect(stderr).toMatch(/SERVICE_FAILED: domain 1 is not served: .*ENOTDIR.*has its log/s);
    expect(readFileSync(launched.qemuArguments, "utf8")).toBe("");
    expect(launched.store.values("/local/domain/0/device-model")).toEqual({});
  }));

test.each<[string, string[], string]>([
  ["a domain that is not there", ["attach", "7", "--device", "edu"], "there is no domain 7"],
  ["a domain that is not there, to be served", ["run", "--domid", "7", "--device", "edu"], "there is no domain 7"],
  ["a name that is misspelt", ["attach", "gest", "--device", "edu"], "did you mean guest?"],
  ["dom0 itself", ["attach", "0", "--device", "edu"], "ioreqd serves guests"],
  ["nothing to serve", ["attach", "guest"], "guests/guest.conf"],
  [
    "a device that is misspelt",
    ["attach", "guest", "--device", "edu,adr=3.0"],
    "--device edu,adr=3.0: edu has no option",
  ],
  ["a root bus that is not there", ["attach", "guest", "--device", "edu,addr=0001:00:03.0"], "the root buses"],
])("%s is refused", (_what, args, message) =>
  withLaunched(async (launched) => {
    const { status, stderr } = await launched.ioreqd(...args);
    expect(stderr).toContain(message);
    expect(status).toBe(1);
    expect(launched.store.values("/local/domain/0/device-model")).toEqual({});
  }),
);

test("run without xenstored says where it looked, before anything is created", () =>
  withLaunched(async (launched) => {
    launched.store.close();
    const { status, stderr } = await launched.ioreqd("run", "--domid", "1", "--device", "edu");
    expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining("XENSTORE_UNREACHABLE") });
    expect(existsSync(launched.stateDir)).toBe(false);
  }));

test("two files for one guest are refused", () =>
  withLaunched(async (launched) => {
    launched.guestFile("guest.conf", "{}");
    launched.guestFile("guest.json", "{}");
    expect(await launched.ioreqd("attach", "guest")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("guest.conf and guest.json"),
    });
  }));

test("a process that finds its guest ended meanwhile says so, ends well, and leaves neither state nor keys", () =>
  withLaunched(async (launched) => {
    expect(await launched.deviceModel("-ioreqd", "counter")).toMatchObject({ status: 0 });
    const pid = Number(launched.key("pid"));
    process.kill(pid, "SIGKILL");
    launched.store.release(SIM_DOMID);
    launched.host.destroyDomain();
    const state = ["--state-dir", launched.stateDir];
    const path = join(launched.stateDir, "notify");
    const supervisor = listen(path);
    launched.supervise(path);
    const again = await launched.ioreqd("run", "--domid", String(SIM_DOMID), ...state);
    expect(again).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(/it has ended.*it was served before/) as string,
    });
    expect(existsSync(join(launched.stateDir, String(SIM_DOMID)))).toBe(false);
    expect(launched.store.values(NODE)).toEqual({});
    // To systemd a unit of Type=notify that ends without this has failed, and is started again.
    expect(supervisor.receive()).toContain("READY=1");
    supervisor.close();
  }));

test("inspect and the next process look where ioreqd.conf says that state is", () =>
  withLaunched(async (launched) => {
    const domid = String(SIM_DOMID);
    const stateDir = join(launched.stateDir, "elsewhere");
    launched.configure({ stateDir });
    expect(await launched.deviceModel("-ioreqd", "counter")).toMatchObject({ status: 0 });
    expect(existsSync(join(stateDir, domid, "state"))).toBe(true);
    const inspected = await launched.ioreqd("inspect", domid);
    expect(inspected).toMatchObject({ status: 0, stdout: expect.stringContaining("counter") as string });
    process.kill(Number(launched.key("pid")), "SIGKILL");
    launched.store.release(SIM_DOMID);
    launched.host.destroyDomain();
    expect(await launched.ioreqd("run", "--domid", domid)).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("it was served before") as string,
    });
    expect(existsSync(join(stateDir, domid))).toBe(false);
  }));
