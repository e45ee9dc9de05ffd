// SPDX-License-Identifier: MIT
/** What an administrator does: an xl config that names ioreqd-dm, and everything that may happen to the guest afterwards. */

import { Dom0 } from "./lab/dom0.js";
import { Guest, type GuestConfig, xlConfig } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";

let dom0: Dom0;
beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
});
afterAll(() => dom0.close());

const BOOT_MS = 440_000;
const OVERRIDE = 'device_model_override = "/usr/lib/ioreqd/bin/ioreqd-dm"';

/** A guest whose config has these devices. */
function withDevices(name: string, devices: readonly string[], more: Partial<GuestConfig> = {}): GuestConfig {
  const { lines = [], ...rest } = more;
  const deviceModelArgs = devices.flatMap((device) => ["-ioreqd", device]);
  return { name, deviceModelArgs, lines: [OVERRIDE, ...lines], ...rest };
}

const keys = async (domid: number): Promise<string> =>
  (await dom0.sh(`xenstore-ls -f /local/domain/0/device-model/${domid}/ioreqd`, { check: false })).stdout;

const active = async (domid: number): Promise<string> =>
  (await dom0.sh(`systemctl is-active ioreqd@${domid}`, { check: false })).stdout.trim();

/** Once the guest has gone: its process ended well, and neither Xen, xenstore nor /run know it any more. */
async function nothingIsLeft(domid: number): Promise<void> {
  // The unit ends when the guest's last page is let go; systemctl waits for nothing that has ended already.
  await dom0.sh(`timeout 60 sh -c 'while systemctl is-active --quiet ioreqd@${domid}; do sleep 0.2; done'`);
  const shown = (await dom0.sh(`systemctl show -p Result -p ExecMainStatus ioreqd@${domid}`)).stdout;
  expect(shown.trim().split("\n").sort()).toEqual(["ExecMainStatus=0", "Result=success"]);
  // Xen frees a domain bit by bit.
  await dom0.sh(`timeout 60 sh -c 'while xl list ${domid} 2> /dev/null; do sleep 0.2; done'`);
  expect((await dom0.sh("xl list")).stdout).not.toContain("(null)");
  expect(await keys(domid)).toBe("");
  expect((await dom0.sh(`ls -A /run/ioreqd/${domid}`, { check: false })).stdout).toBe("");
}

/** A guest that is gone afterwards, also when something about it was not as it should be. */
async function withGuest(config: GuestConfig, act: (guest: Guest) => Promise<void>): Promise<void> {
  const guest = await Guest.create(dom0, config);
  try {
    await act(guest);
  } finally {
    await dom0.sh(`xl destroy ${guest.name}`, { check: false });
  }
}

describe("an xl config that names ioreqd-dm", () => {
  const devices = ["edu,addr=10.0", "counter,addr=11.0"];

  test(
    "brings up a guest with its devices; they follow it through a reboot, and end with it when it crashes",
    () =>
      withGuest(
        withDevices("first", devices, { vcpus: 2, lines: ['on_reboot = "restart"', 'on_crash = "destroy"'] }),
        async (guest) => {
          expect(await active(guest.domid)).toBe("active");
          expect(await keys(guest.domid)).toMatch(/state = "running"\n/);
          await guest.booted();
          const listed = /00:10\.0 .*\[1234:11e8\][\s\S]*00:11\.0 .*\[1234:c047\]/;
          expect((await guest.sh("lspci -nn")).output).toMatch(listed);
          await dom0.sh(`xl pause ${guest.domid}; xl unpause ${guest.domid}`);
          expect((await guest.sh("lspci -d 1234:11e8 | wc -l")).output).toMatch(/^1$/m);

          const before = guest.console().length;
          await guest.tell("reboot -f");
          await guest.waitFor(/GUEST ready/, BOOT_MS, before);
          const domid = Number((await dom0.sh("xl domid first")).stdout);
          expect(domid).toBeGreaterThan(guest.domid);
          expect(await active(domid)).toBe("active");
          await nothingIsLeft(guest.domid);

          await dom0.sh(`echo 'echo c > /proc/sysrq-trigger' > $(xenstore-read /local/domain/${domid}/console/tty)`);
          await nothingIsLeft(domid);
        },
      ),
    2 * BOOT_MS,
  );

  test("leaves QEMU's own arguments as they were", () =>
    withGuest(withDevices("paused", devices, { paused: true }), async (guest) => {
      const pid = `$(xenstore-read /local/domain/${guest.domid}/image/device-model-pid)`;
      const { stdout } = await dom0.sh(`tr '\\0' ' ' < /proc/${pid}/cmdline`);
      expect(stdout).toMatch(new RegExp(`qemu-system-i386 -xen-domid ${guest.domid} `));
      expect(stdout).not.toContain("-ioreqd ");
      await guest.destroy();
      await nothingIsLeft(guest.domid);
    }));
});

describe("an xl create that can't work fails with ioreqd-dm's message, and leaves nothing", () => {
  test.each<[string, Partial<GuestConfig>, string]>([
    ["an unknown device", withDevices("bad", ["edx"]), "DEVICE_UNKNOWN"],
    ["an option misspelt", withDevices("bad", ["edu,adr=10.0"]), "did you mean addr?"],
    [
      "the argument misspelt",
      { ...withDevices("bad", []), deviceModelArgs: ["--ioreqd", "edu"] },
      "did you mean -ioreqd?",
    ],
    ["nothing to serve", withDevices("bad", []), "guests/bad.conf"],
    ["a slot that QEMU's disk has", withDevices("bad", ["edu,addr=8.0"]), "would shadow it"],
    ["a module that is not there", withDevices("bad", ["/etc/ioreqd/nothing.ts"]), "there is no file"],
  ])("%s", async (_what, config, message) => {
    const text = xlConfig({ name: "bad", ...config });
    await dom0.sh(`cat > /var/tmp/bad.cfg << 'END'\n${text}\nEND`);
    const { status, stderr, stdout } = await dom0.sh("xl create /var/tmp/bad.cfg", { check: false });
    expect(`${stderr}${stdout}`).toContain(message);
    expect(status).not.toBe(0);
    expect((await dom0.sh("xl list")).stdout.trim().split("\n")).toHaveLength(2);
    expect((await dom0.sh("pgrep -fa '[i]oreqd run|[q]emu-system.* -name bad'", { check: false })).stdout).toBe("");
    expect((await dom0.sh("systemctl list-units --no-legend --plain 'ioreqd@*'")).stdout).toBe("");
  });
});

describe("by hand", () => {
  const pci = (slot: string): string => `lspci -nn -s ${slot}`;

  // Not a network card: those Linux takes out of QEMU, for Xen's own.
  const qemu = ["-device", "virtio-rng-pci,addr=0x10"];
  const byHand: GuestConfig = { name: "by-hand", paused: true, deviceModelArgs: qemu };

  test("ioreqd attach serves a paused guest; made after QEMU, it wins a slot that QEMU has too", () =>
    withGuest(byHand, async (guest) => {
      const { stdout } = await dom0.sh("ioreqd attach by-hand --device edu,addr=10.0");
      expect(stdout).toBe(`domain ${guest.domid} (by-hand): edu (ioreqd@${guest.domid}.service)\n`);
      const again = await dom0.sh("ioreqd attach by-hand --device counter", { check: false });
      expect(again.stderr).toMatch(/DOMAIN_SERVED: domain \d+ is served by process \d+ already/);
      await guest.unpause();
      await guest.booted();
      expect((await guest.sh(pci("10.0"))).output).toContain("[1234:11e8]");
      await guest.tell("poweroff -f");
      await nothingIsLeft(guest.domid);
    }));

  test("made before QEMU, it loses such a slot", async () => {
    // ioreqd-dm would refuse: so a device model that serves by hand and then becomes QEMU.
    const run = "ioreqd run --domid $XEN_DOMAIN_ID --device edu,addr=10.0 --state-dir /run/ioreqd-first";
    const properties = "-p Type=notify -p NotifyAccess=all -p RuntimeDirectory=ioreqd-first";
    const script = `#!/bin/sh
systemd-run --quiet --unit ioreqd-first ${properties} ${run}
exec /usr/libexec/xen-qemu-system-i386 "$@"`;
    await dom0.sh(`cat > /var/tmp/first << 'END'\n${script}\nEND\nchmod +x /var/tmp/first`);
    const lines = ['device_model_override = "/var/tmp/first"'];
    await withGuest({ name: "first-come", deviceModelArgs: qemu, lines }, async (guest) => {
      await guest.booted();
      expect((await guest.sh(pci("10.0"))).output).toContain("[1af4:1005]");
    });
  });

  test.each<[string, string, RegExp]>([
    ["a domain that is not there", "ioreqd attach 4242 --device edu", /DOMAIN_UNKNOWN: there is no domain 4242/],
    [
      "a name that nobody has",
      "ioreqd attach nobody --device edu",
      /DOMAIN_UNKNOWN: there is no domain called "nobody"/,
    ],
    ["dom0 itself", "ioreqd run --domid 0 --device edu", /DOMAIN_UNKNOWN: domain 0 is this host's own/],
    [
      "no xenstored",
      "XENSTORED_PATH=/nowhere ioreqd attach 1 --device edu",
      /XENSTORE_UNREACHABLE: .*\/nowhere: ENOENT/,
    ],
    [
      "no rights",
      "setpriv --reuid 65534 --clear-groups ioreqd run --domid 1 --device edu",
      /XEN_OPEN_FAILED: .*EACCES \(not permitted/,
    ],
  ])("%s is refused with what to do", async (_what, command, message) => {
    const { status, stderr } = await dom0.sh(command, { check: false });
    expect(stderr).toMatch(message);
    expect(status).toBe(1);
  });
});

describe("a paused guest", () => {
  let guest: Guest;
  beforeAll(async () => {
    guest = await Guest.create(dom0, { name: "paused", paused: true });
  });
  afterAll(() => guest.destroy());

  test("takes eight ioreq servers, QEMU's among them; the ninth is refused, and nothing of it is left", async () => {
    const unit = (n: number): string => `ioreqd-eight-${n}`;
    const start = (n: number, device: string): string =>
      `systemd-run --quiet --wait --pipe --unit ${unit(n)} --property=RuntimeDirectory=${unit(n)} ioreqd run --domid ${guest.domid} --device ${device} --state-dir /run/${unit(n)}`;
    const background = (n: number): string =>
      start(n, `edu,addr=1${n}.0`).replace("--wait --pipe", "--property=Type=notify --property=NotifyAccess=all");
    for (let n = 1; n <= 7; n += 1) await dom0.sh(background(n));
    const { status, stderr } = await dom0.sh(start(8, "edu,addr=18.0"), { check: false });
    expect(stderr).toContain("the domain has its 8 ioreq servers already");
    expect(status).toBe(1);
    expect((await dom0.sh(`ls /run/${unit(8)}`, { check: false })).stdout).toBe("");
    await dom0.sh(`systemctl stop ${Array.from({ length: 7 }, (_, i) => unit(i + 1)).join(" ")}`);
  });
});

test("the unit's sandbox is as strict as the job allows", async () => {
  const { stdout } = await dom0.sh("systemd-analyze security --no-pager ioreqd@1.service | tail -n 1");
  expect(Number(/exposure level .*: ([\d.]+)/.exec(stdout)?.[1])).toBeLessThan(2);
});
