// SPDX-License-Identifier: MIT
/** What code inside of a process that serves a guest can still do to a real dom0: test/confine/intruder.ts tries. */

import { Dom0 } from "./lab/dom0.js";
import { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { OVERRIDE } from "./lab/package.js";
import { putTests } from "./tests-in-dom0.js";
import { unitEnded } from "./units.js";

const FIRST_UID = 0x7000_0000;

let dom0: Dom0;
let guest: Guest;
let attempts: ReadonlyMap<string, string>;

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  const place = await putTests(dom0, { jest: false });
  guest = await Guest.create(dom0, {
    name: "confined",
    paused: true,
    deviceModelArgs: ["-ioreqd", "counter,addr=10.0"],
    lines: [OVERRIDE],
  });
  await dom0.sh(`ioreqd device add ${guest.domid} ${place}/dist/test/confine/intruder.js,addr=11.0`);
  const { stdout } = await dom0.sh(`journalctl -o cat -u ioreqd@${guest.domid} | grep '"attempt"'`);
  const lines = stdout.trim().split("\n");
  attempts = new Map(
    lines.map((line) => {
      const { attempt, outcome } = JSON.parse(line) as { attempt: string; outcome: string };
      return [attempt, outcome];
    }),
  );
}, 600_000);

afterAll(async () => {
  await dom0?.sh("xl destroy confined", { check: false });
  dom0?.close();
});

test("the process is a user of the guest's own, without a capability", async () => {
  const { stdout } = await dom0.sh(
    `grep -E '^(Uid|CapEff|CapPrm|NoNewPrivs|Seccomp):' /proc/$(systemctl show -P MainPID ioreqd@${guest.domid})/status`,
  );
  const uid = FIRST_UID + guest.domid;
  expect(
    Object.fromEntries(
      stdout
        .trim()
        .split("\n")
        .map((line) => line.split(/:\t/)),
    ),
  ).toMatchObject({
    Uid: `${uid}\t${uid}\t${uid}\t${uid}`,
    CapEff: "0000000000000000",
    CapPrm: "0000000000000000",
    NoNewPrivs: "1",
    Seccomp: "2",
  });
});

test.each([
  ["any hypercall", /^EPERM$/],
  ["act on another domain", /^EPERM$/],
  ["map memory of another domain", /^EPERM$/],
  ["bind a channel of another domain", /^(EACCES|EPERM)$/],
  ["open Xen anew", /^EACCES$/],
  ["read the passwords", /^EACCES$/],
  ["list its state directory", /^EACCES$/],
  ["write /run/ioreqd/x", /^(EACCES|EROFS)$/],
  ["write /etc/ioreqd/x", /^(EACCES|EROFS)$/],
  ["write /var/cache/ioreqd/x", /^(EACCES|EROFS)$/],
  ["write /var/lib/ioreqd/saved/x", /^(EACCES|EROFS)$/],
  ["write /usr/lib/ioreqd/x", /^(EACCES|EROFS)$/],
  ["write /var/log/x", /^(EACCES|EROFS)$/],
  ["connect to xenstore", /^EACCES$/],
  ["open a network socket", /^(EAFNOSUPPORT|EPERM)$/],
  ["become root again", /^EPERM$/],
  ["signal another process", /^(EPERM|ESRCH)$/],
])("it can't %s", (what, refusal) => {
  expect(attempts.get(what)).toMatch(refusal);
});

test("without xenstore it lets go of the guest all the same when that ends", async () => {
  await guest.destroy();
  await unitEnded(dom0, guest.domid);
  expect((await dom0.sh(`systemctl show -P Result ioreqd@${guest.domid}`)).stdout.trim()).toBe("success");
  await dom0.sh(`timeout 60 sh -c 'while xl list ${guest.domid} 2> /dev/null; do sleep 0.2; done'`);
});
