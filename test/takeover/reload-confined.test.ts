// SPDX-License-Identifier: MIT
/**
 * `ioreqd reload` of a guest that a confined process serves: what is tried before systemd is asked to restart its unit.
 * A stand-in for systemctl knows one unit; what a real one does is judged on a real Xen: reload.xen.ts.
 */

import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { guestProgram, PROGRAM } from "../support/ioreqd.js";
import { type Supervised, save, supervised } from "./supervised.js";

const onlyRoot = process.getuid?.() === 0 ? test : test.skip;

/** Counts reads, and says which version it is. */
const tally = (version: number, attach = "", mark = "width: 4, rw: 0xffffffff"): string => `
  module.exports = {
    name: "tally",
    ident: { vendor: 0x1234, device: 0x7a11, classCode: 0x00ff00 },
    bars: { 0: { space: "mem32", size: 4096, regs: {
      NEXT: { at: 0 }, VERSION: { at: 4, reset: ${version} }, MARK: { at: 8, ${mark} } } } },
    attach({ bars: { 0: reg } }) {
      ${attach}
      reg.NEXT.onRead((stored) => { reg.NEXT.value = stored + 1; return stored; });
    },
  };
`;

/** Reads NEXT until VERSION is 2; a number that is missing or comes twice fails it. */
const TALLYING = guestProgram(`
  place(vcpu);
  vcpu.write(MEMORY + 8, 4, 0x12345678);
  for (let expected = 0, seen = 0; seen !== 2; ) {
    for (let n = 0; n < 50; n += 1, expected += 1) must(vcpu.read(MEMORY, 4) === expected, "number " + expected);
    const version = vcpu.read(MEMORY + 4, 4);
    if (version !== seen) vcpu.step("version " + version);
    seen = version;
  }
`);

/** Knows the unit of domain 1: files beside it say its main process, what it starts, and that it has started again. */
const SYSTEMCTL = (at: string): string => `#!/bin/sh
case "$1" in
show)
  echo "MainPID=$(cat ${at}/main-pid)"
  echo "ActiveState=active"
  echo "ExecStart={ path=${process.execPath} ; argv[]=${process.execPath} $(cat ${at}/command) ; ignore_errors=no ; pid=0 }"
  echo "ActiveExitTimestampMonotonic=1000000"
  echo "ActiveEnterTimestampMonotonic=1250500"
  ;;
restart)
  echo "$2" >> ${at}/restarts
  if [ -e ${at}/broken ]; then echo "Job for $2 failed." >&2; exit 1; fi
  kill -KILL "$(cat ${at}/main-pid)"
  timeout 60 sh -c 'until [ -e ${at}/started ]; do sleep 0.05; done'
  ;;
esac
`;

interface Unit {
  readonly all: Supervised;
  readonly module: string;
  readonly at: (name: string) => string;
}

/** A confined process that serves a tallying guest, and the stand-in. */
async function confinedUnit(act: (unit: Unit) => Promise<void>): Promise<void> {
  const path = process.env["PATH"];
  await supervised(
    TALLYING,
    ["--confine"],
    async (all) => {
      const at = (name: string): string => all.path(`bin/${name}`);
      const module = all.path("tally.js");
      chmodSync(all.directory, 0o755);
      mkdirSync(all.path("bin"));
      writeFileSync(at("systemctl"), SYSTEMCTL(all.path("bin")), { mode: 0o755 });
      save(module, tally(1));
      await all.start();
      writeFileSync(at("main-pid"), String(all.pid));
      writeFileSync(
        at("command"),
        `${PROGRAM} run --confine --state-dir ${all.path("state")} --domid 1 --device ${module},addr=10.0`,
      );
      all.begin();
      await all.step("version 1");
      process.env["PATH"] = `${all.path("bin")}:${path}`;
      await act({ all, module, at });
    },
    { vcpus: 1, moreArguments: (directory) => ["--device", `${directory}/tally.js,addr=10.0`] },
  ).finally(() => {
    process.env["PATH"] = path;
  });
}

const reload = (all: Supervised, ...words: string[]) =>
  all.ioreqdLater("reload", ...(words.length === 0 ? ["1"] : words), "--state-dir", all.path("state"));

onlyRoot.each<[string, string, RegExp]>([
  ["a table that can't take the state", tally(2, "", "width: 2, rw: 0xffff"), /STATE_INCOMPATIBLE: .*bar0\.MARK was 4/],
  ["code that can't be loaded", "module.exports = {", /MODULE_LOAD_FAILED/],
  ["an attach() that throws", tally(2, "throw new Error('not today');"), /DEVICE_FAILED: .*not today/],
  [
    "code that ends the process",
    tally(2, "process.exit(3);"),
    /RELOAD_FAILED: the process that was to go on ended before it was prepared/,
  ],
])(
  "%s is refused with the reason, and the unit is not touched",
  async (_, source, why) => {
    await confinedUnit(async ({ all, module, at }) => {
      save(module, source);
      const refused = await reload(all);
      expect(refused.stderr).toMatch(why);
      expect(refused).toMatchObject({ status: 1, stdout: "" });
      expect(existsSync(at("restarts"))).toBe(false);
      expect(all.serving()).toBe(all.pid);
    });
  },
  120_000,
);

onlyRoot(
  "where it can go on the unit is restarted, and a guest that reads all the time misses nothing",
  async () => {
    await confinedUnit(async ({ all, module, at }) => {
      save(module, tally(2));
      const reloading = reload(all);
      await all.ended();
      expect(await all.start()).toMatchObject({ takenOver: true });
      writeFileSync(at("started"), "");
      const { status, stdout, stderr } = await reloading;
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stdout).toMatch(
        new RegExp(`^domain 1 is served by process ${all.pid}, ioreqd \\S+; the guest waited at most 250\\.5 ms\n$`),
      );
      await expect(all.guest.done).resolves.toMatchObject({ ok: true });
    });
  },
  120_000,
);

onlyRoot(
  "what a rehearsal does stays within it: it has no capability, and takes nothing of the process that serves",
  async () => {
    await confinedUnit(async ({ all, module, at }) => {
      const tell = `require("node:fs").writeFileSync("${at("rehearsed")}", require("node:fs").readFileSync("/proc/self/status"));`;
      save(
        module,
        tally(2, `if (process.getuid() === 0) { ${tell} reg.NEXT.value = 0; } else throw new Error("who?");`),
      );
      writeFileSync(at("broken"), "");
      const { status, stderr } = await reload(all);
      expect(status).toBe(1);
      expect(stderr).toMatch(
        /RELOAD_FAILED: ioreqd@1\.service was restarted and does not serve domain 1: Job for ioreqd@1\.service failed\./,
      );
      const read = readFileSync(at("rehearsed"), "utf8");
      expect(read).toMatch(/^CapEff:\t0+$/m);
      expect(read).toMatch(/^CapBnd:\t0+$/m);
      expect(read).toMatch(/^NoNewPrivs:\t1$/m);
      // Still the first one, and nothing has set its counter back.
      expect(all.serving()).toBe(all.pid);
      rmSync(at("broken"));
      save(module, tally(2));
      const reloading = reload(all);
      await all.ended();
      await all.start();
      writeFileSync(at("started"), "");
      await reloading;
      await expect(all.guest.done).resolves.toMatchObject({ ok: true });
    });
  },
  120_000,
);

onlyRoot(
  "a confined process that no unit runs is refused with what to do, and so is one that systemd can't be asked about",
  async () => {
    await confinedUnit(async ({ all, at }) => {
      writeFileSync(at("main-pid"), "0");
      const byHand = await reload(all);
      expect(byHand.stderr).toMatch(
        /RELOAD_FAILED: process \d+, .* is confined.* not the main process of ioreqd@1\.service.*SIGKILL/,
      );
      expect(byHand.status).toBe(1);
      writeFileSync(at("systemctl"), "#!/bin/sh\necho 'System has not been booted with systemd' >&2; exit 1\n");
      const without = await reload(all, "--all");
      expect(without.stderr).toMatch(/^ioreqd: domain 1: RELOAD_FAILED: systemctl show .*not been booted with systemd/);
      expect(without.status).toBe(1);
      expect(all.serving()).toBe(all.pid);
    });
  },
  120_000,
);
