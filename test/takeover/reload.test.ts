// SPDX-License-Identifier: MIT
/** `ioreqd reload`: another process, with other device code, goes on with a guest that runs. */

import { existsSync, readFileSync } from "node:fs";
import { guestProgram } from "../support/ioreqd.js";
import { listen } from "../support/notify-socket.js";
import { type Supervised, save, supervised } from "./supervised.js";

/** Counts reads; `regs` and the rest of the table are what is changed. */
const counter = (version: number, regs: string, more = "", attach = ""): string => `
  module.exports = {
    name: "tally",
    ident: { vendor: 0x1234, device: 0x7a11, classCode: 0x00ff00 },
    bars: { 0: { space: "mem32", size: 4096, regs: { NEXT: { at: 0 }, VERSION: { at: 4, reset: ${version} }, ${regs} } } },
    ${more}
    attach({ bars: { 0: reg } }) {
      ${attach}
      reg.NEXT.onRead((stored) => { reg.NEXT.value = stored + 1; return stored; });
    },
  };
`;
const MARK = "MARK: { at: 8, rw: 0xffffffff }";

/** Reads NEXT until VERSION is the last; tells each version it sees, and whether a number was missing or came twice. */
const TALLYING = guestProgram(`
  place(vcpu);
  vcpu.write(MEMORY + 8, 4, 0x77);
  let expected = 0, seen = 0;
  for (const last = Number(vcpu.arguments[0]); seen !== last; ) {
    for (let n = 0; n < 50; n += 1, expected += 1) must(vcpu.read(MEMORY, 4) === expected, "number " + expected);
    const version = vcpu.read(MEMORY + 4, 4);
    if (version !== seen) vcpu.step("version " + version, { version });
    seen = version;
  }
  vcpu.step("mark", { mark: vcpu.read(MEMORY + 0x10, 4) });
`);

const reload = (all: Supervised) => all.ioreqdLater("reload", "1", "--state-dir", all.path("state"));

const withTally = (
  act: (all: Supervised, path: string) => Promise<void>,
  last: number,
  environment: NodeJS.ProcessEnv = {},
): Promise<void> =>
  supervised(
    TALLYING,
    [],
    async (all) => {
      const path = all.path("tally.js");
      save(path, counter(1, MARK));
      await all.start(environment);
      all.begin();
      await all.step("version 1");
      await act(all, path);
    },
    {
      vcpus: 1,
      words: [String(last)],
      moreArguments: (directory) => ["--device", `${directory}/tally.js,addr=10.0`],
    },
  );

test("a guest that reads all the time sees the new device with the old one's state, and nothing else", async () => {
  await withTally(async (all, path) => {
    save(path, counter(2, "MARK: { at: 0x10, rw: 0xffffffff }, MORE: { at: 0x20 }"));
    const { status, stdout, stderr } = await reload(all);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^domain 1 is served by process \d+, ioreqd \S+; the guest waited \d+\.\d ms\n$/);
    await all.step("version 2");
    await expect(all.guest.done).resolves.toMatchObject({ ok: true });
    expect(all.reports.at(-1)?.detail).toEqual({ mark: 0x77 });
    expect(all.said("ready").at(-1)).toMatchObject({ takenOver: true, waitedMs: expect.any(Number) });
    // Whoever started the first one ends it, and hears of the end of the last.
    expect(await all.end("SIGTERM")).toBe(0);
    expect(all.host.counters().servers).toBe(0);
    expect(existsSync(all.path("state/1"))).toBe(false);
  }, 2);
}, 120_000);

test.each<[string, string, RegExp]>([
  [
    "a table that can't take the state",
    counter(2, "MARK: { at: 8, width: 2, rw: 0xffff }"),
    /STATE_INCOMPATIBLE: tally at 0000:00:10\.0 .*bar0\.MARK was 4 bytes wide and is 2/,
  ],
  ["a table that is wrong", counter(2, `${MARK}, TWICE: { at: 8 }`), /TABLE_INVALID: .*MARK and TWICE overlap/],
  ["code that can't be loaded", "module.exports = {", /MODULE_LOAD_FAILED/],
  ["an attach() that throws", counter(2, MARK, "", "throw new Error('not today');"), /DEVICE_FAILED: .*not today/],
])(
  "%s is refused with the reason, and the old process goes on",
  async (_, source, why) => {
    await withTally(async (all, path) => {
      save(path, source);
      const refused = await reload(all);
      expect(refused.status).toBe(1);
      expect(refused.stderr).toMatch(why);
      expect(all.said("another process goes on")).toEqual([]);
      // Mended, it goes.
      save(path, counter(3, "MARK: { at: 0x10, rw: 0xffffffff }"));
      expect(await reload(all)).toMatchObject({ status: 0 });
      await expect(all.guest.done).resolves.toMatchObject({ ok: true });
    }, 3);
  },
  120_000,
);

test("where the new process fails only when it serves, the old one takes over again", async () => {
  await withTally(async (all, path) => {
    // The first call is the rehearsal.
    const once = "if (globalThis.tried) throw new Error('second thoughts'); globalThis.tried = true;";
    save(path, counter(2, "MARK: { at: 0x10, rw: 0xffffffff }", "", once));
    const failed = await reload(all);
    expect(failed.stderr).toMatch(
      /RELOAD_FAILED: process \d+ did not go on with domain 1: process \d+ goes on serving it/,
    );
    expect(all.said("it could not: this one does")[0]).toMatchObject({
      err: expect.stringContaining("second thoughts"),
    });
    save(path, counter(3, "MARK: { at: 0x10, rw: 0xffffffff }"));
    expect(await reload(all)).toMatchObject({ status: 0 });
    await expect(all.guest.done).resolves.toMatchObject({ ok: true });
    expect(all.host.crashReason).toBeNull();
  }, 3);
}, 120_000);

test("a process that was reloaded and dies is succeeded like any other", async () => {
  await withTally(async (all, path) => {
    save(path, counter(2, "MARK: { at: 0x10, rw: 0xffffffff }"));
    await reload(all);
    await all.step("version 2");
    save(path, counter(3, "MARK: { at: 0x10, rw: 0xffffffff }"));
    process.kill(all.serving(), "SIGKILL");
    await all.ended();
    expect(await all.start()).toMatchObject({ takenOver: true });
    await expect(all.guest.done).resolves.toMatchObject({ ok: true });
  }, 3);
}, 120_000);

test("under a supervisor the new process is no child of the old one, which names it and ends; then it speaks for itself", async () => {
  const path = `@ioreqd-reload-${process.pid}`;
  const supervisor = listen(path);
  try {
    await withTally(
      async (all, module) => {
        const parent = all.path("parent");
        const tell = `require("node:fs").writeFileSync("${parent}", String(process.ppid));`;
        save(module, counter(2, "MARK: { at: 0x10, rw: 0xffffffff }", "", tell));
        expect(await reload(all)).toMatchObject({ status: 0 });
        await all.step("version 2");
        const pid = all.serving();
        expect(Number(readFileSync(parent, "utf8"))).not.toBe(all.pid);
        expect(supervisor.receive()).toMatch(/^READY=1/);
        expect(supervisor.receive()).toBe(`MAINPID=${pid}`);
        expect(supervisor.receive()).toMatch(/^READY=1/);
        await expect(all.guest.done).resolves.toMatchObject({ ok: true });
        // The log, which they share, ends with the second one.
        process.kill(pid, "SIGKILL");
        expect(await all.ended()).toBe(0);
      },
      2,
      { NOTIFY_SOCKET: path },
    );
  } finally {
    supervisor.close();
  }
}, 120_000);
