// SPDX-License-Identifier: MIT
/** `ioreqd reload` as an administrator uses it: the packaged, confined unit under a guest that works on. */

import { Dom0, quote } from "./lab/dom0.js";
import type { Guest } from "./lab/guests.js";
import { labDirectory } from "./lab/lab-files.js";
import { MACHINE_MS, machine } from "./machine.js";
import { ProgramRuns } from "./run-programs.js";
import { putTests } from "./tests-in-dom0.js";

const STEP_MS = 120_000;
/** Of the device that changes. In quarantine nobody answers there; as it comes to life, the guest's program ends. */
const SLOT = "00:1e.0";
const MODULE = "/usr/local/lib/ioreqd-lab/changing.js";

/** `kept`: of a register that the guest could have written; `attach`: what the device does when a process starts. */
const changing = (version: number, kept = "width: 4", attach = ""): string => `module.exports = {
  name: "changing",
  ident: { vendor: 0x1234, device: 0xc4a9, classCode: 0xff0000, revision: ${version} },
  bars: { 0: { space: "mem32", size: 4096, regs: { VERSION: { at: 0, reset: ${version} }, KEPT: { at: 4, ${kept}, reset: 7 } } } },
  timers: ["tick"],
  attach({ timers, bars: { 0: reg } }) { ${attach} },
};`;
/** Twice, and it is in quarantine. */
const DIES_SOON = 'timers.tick.onExpire(() => process.kill(process.pid, "SIGKILL")); timers.tick.start(1);';

let dom0: Dom0;
let guest: Guest;
/** Of our compiled tests in dom0. */
let place: string;
const unit = (): string => `ioreqd@${guest.domid}`;
const mainPid = async (): Promise<string> => (await dom0.sh(`systemctl show -P MainPID ${unit()}`)).stdout.trim();
const save = (source: string) => dom0.sh(`mkdir -p $(dirname ${MODULE}) && printf %s ${quote(source)} > ${MODULE}`);
const reload = () => dom0.sh(`ioreqd reload ${guest.domid}`, { check: false, timeoutMs: STEP_MS });

beforeAll(async () => {
  dom0 = await Dom0.connect(labDirectory());
  place = await putTests(dom0, { jest: false });
  guest = await machine(dom0);
}, MACHINE_MS);

afterAll(async () => {
  await dom0?.sh(`ioreqd device remove ${guest?.domid} ${SLOT} --force; systemctl reset-failed ${unit()}`, {
    check: false,
  });
  dom0?.close();
});

test(
  "a device that ends its process again and again goes into quarantine, also where that is confined",
  async () => {
    await save(changing(1, "width: 4", DIES_SOON));
    // The process may die before it has said that the device is there.
    await dom0.sh(`ioreqd device add ${guest.domid} ${MODULE},addr=${SLOT},id=changing`, { check: false });
    const quarantined = `journalctl -o cat -u ${unit()} | grep -q 'changing.*device quarantined'`;
    await dom0.sh(
      `timeout 100 sh -c ${quote(`until ${quarantined} && systemctl is-active --quiet ${unit()}; do sleep 1; done`)}`,
      { timeoutMs: STEP_MS },
    );
    const { stdout } = await dom0.sh(`grep ^Uid: /proc/${await mainPid()}/status`);
    expect(stdout).toContain(String(0x7000_0000 + guest.domid));
  },
  STEP_MS,
);

test(
  "a module that can't go on is refused with the reason, and the process that serves goes on",
  async () => {
    const before = await mainPid();
    await save(changing(2, "width: 2"));
    const { status, stderr } = await reload();
    expect(stderr).toMatch(/STATE_INCOMPATIBLE: changing at 0000:00:1e\.0 .*bar0\.KEPT was 4 bytes wide and is 2/);
    expect(status).toBe(1);
    expect(await mainPid()).toBe(before);
  },
  STEP_MS,
);

test(
  "one that is mended is gone on with and revived, and a guest whose vCPUs count all the time sees no gap and no repeat",
  async () => {
    const before = await mainPid();
    const counting = { name: "counting", file: "dist/test/real-xen/programs/counting.js", arguments: [SLOT], vcpus: 2 };
    const runs = new ProgramRuns(dom0, guest, place, [counting], 2 * STEP_MS);
    await save(changing(3));
    const { stdout, stderr } = await reload();
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^domain \d+ is served by process \d+, ioreqd \S+; the guest waited at most \d+\.\d ms\n$/);
    expect(stdout).not.toContain(`process ${before},`);
    await dom0.sh(`ioreqd device revive ${guest.domid} changing`);
    const steps = (await runs.of("counting")).flatMap((line) => (line.kind === "step" ? [line.text] : []));
    expect(steps.at(-1)).toMatch(/^\d+ reads by 2 vCPUs, no gap and no repeat$/);
    process.stdout.write(`${stdout}${steps.at(-1)}\n`);
  },
  3 * STEP_MS,
);
