// SPDX-License-Identifier: MIT
/** What an administrator does: an xl config that names ioreqd-dm, and everything that may happen to the guest afterwards. */

import { Dom0, quote } from "./lab/dom0.js";
import { Guest, type GuestConfig, xlConfig } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { GUEST_KERNEL, OVERRIDE } from "./lab/package.js";
import { NODE } from "./tests-in-dom0.js";
import { leftOf, NOTHING } from "./units.js";

let dom0: Dom0;
beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
});
afterAll(() => dom0.close());

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

/** What a command in dom0 prints, once it succeeds. */
const until = async (command: string): Promise<string> =>
  (await dom0.sh(`timeout 100 sh -c ${quote(`until ${command} 2> /dev/null; do sleep 0.2; done`)}`)).stdout;

/** Once the guest has gone: its process ended well, and neither Xen, xenstore nor /run know it any more. */
const nothingIsLeft = async (domid: number): Promise<void> => expect(await leftOf(dom0, domid)).toEqual(NOTHING);

/** Created paused, and gone afterwards, also when something about it was not as it should be. */
async function withPausedGuest(config: GuestConfig, act: (guest: Guest) => Promise<void>): Promise<void> {
  try {
    await act(await Guest.create(dom0, { ...config, paused: true }));
  } finally {
    await dom0.sh(`xl destroy ${config.name}`, { check: false });
  }
}

describe("an xl config that names ioreqd-dm", () => {
  const devices = ["edu,addr=10.0", "counter,addr=11.0"];

  test("brings up a guest with its devices, through a pause too, and lets go of it when it is destroyed", () =>
    withPausedGuest(withDevices("first", devices, { vcpus: 2 }), async (guest) => {
      expect(await active(guest.domid)).toBe("active");
      expect(await keys(guest.domid)).toMatch(/state = "running"\n/);
      const pid = `$(xenstore-read /local/domain/${guest.domid}/image/device-model-pid)`;
      const { stdout } = await dom0.sh(`tr '\\0' ' ' < /proc/${pid}/cmdline`);
      expect(stdout).toMatch(new RegExp(`qemu-system-i386 -xen-domid ${guest.domid} `));
      expect(stdout).not.toContain("-ioreqd ");
      await guest.unpause();
      await dom0.sh(`xl pause ${guest.domid}; xl unpause ${guest.domid}`);
      await guest.firmwareSays(/pci dev 10:0 bar 10 size 000100000[\s\S]*pci dev 11:0 bar 10 size 000001000/);
      await guest.destroy();
      await nothingIsLeft(guest.domid);
    }));

  test("serves the next domain when the guest reboots, and lets go of the one before", () =>
    withPausedGuest(withDevices("again", devices, { lines: ['on_reboot = "restart"'] }), async (guest) => {
      // To Xen a triple fault is a reboot.
      await dom0.sh(`/usr/lib/xen-*/bin/xen-hvmcrash ${guest.domid} && xl unpause ${guest.domid}`);
      await nothingIsLeft(guest.domid);
      const next = Number(await until("xl domid again"));
      expect(next).toBeGreaterThan(guest.domid);
      await until(`systemctl is-active ioreqd@${next}`);
      await dom0.sh("xl destroy again");
      await nothingIsLeft(next);
    }));
});

describe("an xl create that can't work fails with ioreqd-dm's message, and leaves nothing", () => {
  test.each<[string, Partial<GuestConfig>, string]>([
    ["an option misspelt", withDevices("bad", ["edu,adr=10.0"]), "did you mean addr?"],
    [
      "the argument misspelt",
      { ...withDevices("bad", []), deviceModelArgs: ["--ioreqd", "edu"] },
      "did you mean -ioreqd?",
    ],
    ["a slot that QEMU's disk has", withDevices("bad", ["edu,addr=8.0"]), "would shadow it"],
  ])("%s", async (_what, config, message) => {
    const text = xlConfig({ name: "bad", ...config }, dom0);
    await dom0.sh(`cat > /var/tmp/bad.cfg << 'END'\n${text}\nEND`);
    const before = await whatRuns();
    const { status, stderr, stdout } = await dom0.sh("xl create /var/tmp/bad.cfg", { check: false });
    expect(`${stderr}${stdout}`).toContain(message);
    expect(status).not.toBe(0);
    expect(await whatRuns()).toBe(before);
  });

  /** Domains, device models and units: those of other suites' guests, too. */
  async function whatRuns(): Promise<string> {
    const domains = "xl list | awk '{ print $1, $2 }'";
    const units = "systemctl list-units --no-legend --plain 'ioreqd@*'";
    const processes = "grep -lsaE '[i]oreqd.run|[q]emu-system' /proc/[0-9]*/cmdline";
    return (await dom0.sh(`${domains}; ${processes}; ${units}`)).stdout;
  }
});

describe("by hand", () => {
  const qemu = ["-device", "virtio-rng-pci,addr=0x10"];
  const edus = /pci dev 10:0 bar 10 size 000100000/;
  const qemus = /pci dev 10:0 bar 20 size 000004000/;

  test("ioreqd attach serves a paused guest; a slot that QEMU has it wins where that is meant, and else is refused", () =>
    withPausedGuest({ name: "by-hand", deviceModelArgs: qemu }, async (guest) => {
      // The guest's own file asks for every access in the log, by the names of the data sheet.
      const file = "/etc/ioreqd/guests/by-hand.conf";
      await dom0.sh(`mkdir -p $(dirname ${file}) && echo '{ "log": { "verbosity": 2 } } // loud' > ${file}`);
      const taken = await dom0.sh("ioreqd attach by-hand --device edu,addr=10.0", { check: false });
      expect(taken.stderr).toMatch(/SERVICE_FAILED: .*: 0000:00:10\.0 is taken: ioreq server 0 of domain \d+ has that/);
      const { stdout } = await dom0.sh("ioreqd attach by-hand --device edu,addr=10.0,shadow=on");
      expect(stdout).toBe(`domain ${guest.domid} (by-hand): edu (ioreqd@${guest.domid}.service)\n`);
      const again = await dom0.sh("ioreqd attach by-hand --device counter", { check: false });
      expect(again.stderr).toMatch(/DOMAIN_SERVED: domain \d+ is served by process \d+ already/);

      await guest.unpause();
      await guest.firmwareSays(edus);
      const logged = await until(
        `journalctl -o cat -u ioreqd@${guest.domid} | grep '"op":"W".*"reg":"BAR0".*"value":"0xf'`,
      );
      expect(logged).toMatch(
        /"kind":"config","op":"W","device":"0000:00:10.0 edu config","at":"0x10","reg":"BAR0","width":4/,
      );
      await guest.destroy();
      await nothingIsLeft(guest.domid);
    }));

  test("made before QEMU, it loses such a slot", async () => {
    // ioreqd-dm would refuse: so a device model that serves by hand and then becomes QEMU. libxl 4.20 runs it twice: at first
    // without a domain, to ask for its options.
    const run = "ioreqd run --domid $XEN_DOMAIN_ID --device edu,addr=10.0 --state-dir /run/ioreqd-first";
    const properties = "-p Type=notify -p NotifyAccess=all -p RuntimeDirectory=ioreqd-first";
    const script = `#!/bin/sh
[ -z "$XEN_DOMAIN_ID" ] || systemd-run --quiet --unit ioreqd-first ${properties} ${run}
exec /usr/libexec/xen-qemu-system-i386 "$@"`;
    await dom0.sh(`cat > /var/tmp/first << 'END'\n${script}\nEND\nchmod +x /var/tmp/first`);
    const lines = ['device_model_override = "/var/tmp/first"'];
    await withPausedGuest({ name: "first-come", deviceModelArgs: qemu, lines }, async (guest) => {
      expect((await dom0.sh("systemctl is-active ioreqd-first")).stdout).toBe("active\n");
      await guest.unpause();
      await guest.firmwareSays(qemus);
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

test("a domain takes eight ioreq servers, QEMU's among them; the ninth is refused, and nothing of it is left", () =>
  withPausedGuest({ name: "crowded" }, async ({ domid }) => {
    // They belong to the domain, and outlive the process that made them.
    const seven = `
      const koffi = require("/usr/lib/ioreqd/node_modules/koffi");
      const library = koffi.load("libxendevicemodel.so.1");
      const open = library.func("void *xendevicemodel_open(void *logger, unsigned int flags)");
      const create = library.func(
        "int xendevicemodel_create_ioreq_server(void *handle, uint16_t domid, int bufioreq, _Out_ uint16_t *id)",
      );
      const handle = open(null, 0);
      for (let i = 0; i < 7; i++) if (create(handle, ${domid}, 0, [0]) !== 0) process.exit(1);`;
    await dom0.sh(`${NODE} -e ${quote(seven)}`);
    const run = `ioreqd run --domid ${domid} --device edu --state-dir /run/crowded`;
    const { status, stderr } = await dom0.sh(run, { check: false });
    expect(stderr).toContain("the domain has its 8 ioreq servers already");
    expect(status).toBe(1);
    expect((await dom0.sh("ls -A /run/crowded", { check: false })).stdout).toBe("");
    expect(await keys(domid)).toMatch(/state = "error"/);
  }));

describe("a guest without QEMU", () => {
  const create = (type: string): string =>
    `printf 'name = "${type}"\ntype = "${type}"\nmemory = 192\nkernel = "${GUEST_KERNEL}"\n' > /var/tmp/${type}.cfg && xl create -p -q /var/tmp/${type}.cfg`;

  test("of type pvh is served after attach, and let go", async () => {
    await dom0.sh(create("pvh"));
    try {
      const domid = Number((await dom0.sh("xl domid pvh")).stdout);
      await dom0.sh("ioreqd attach pvh --device counter");
      expect(await keys(domid)).toMatch(/ioservid = "0"\n/);
      await dom0.sh("xl destroy pvh");
      await nothingIsLeft(domid);
    } finally {
      await dom0.sh("xl destroy pvh", { check: false });
    }
  });

  test("of type pv is refused, for it has no ioreq servers, and nothing is left of the attempt", async () => {
    await dom0.sh(create("pv"));
    try {
      const domid = Number((await dom0.sh("xl domid pv")).stdout);
      const { status, stderr } = await dom0.sh("ioreqd attach pv --device counter", { check: false });
      expect(stderr).toMatch(/SERVICE_FAILED: .*HVM or PVH guest/);
      expect(status).toBe(1);
      expect(await keys(domid)).toBe("");
      expect(await active(domid)).not.toBe("active");
    } finally {
      await dom0.sh("xl destroy pv", { check: false });
    }
  });
});

test("the unit's sandbox is as strict as the job allows", async () => {
  const { stdout } = await dom0.sh("systemd-analyze security --no-pager ioreqd@1.service | tail -n 1");
  expect(Number(/exposure level .*: ([\d.]+)/.exec(stdout)?.[1])).toBeLessThan(2);
});
