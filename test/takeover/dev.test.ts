// SPDX-License-Identifier: MIT
/** `ioreqd dev`: a device is saved again and again while a guest uses it. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { guestProgram, PROGRAM, withDirectory } from "../support/ioreqd.js";
import { save, supervised } from "./supervised.js";

const dice = (regs: string, version = "./version"): string => `
  import { definePciDevice } from "ioreqd";
  import { VERSION } from "${version}";
  export default definePciDevice({
    name: "tally",
    ident: { vendor: 0x1234, device: 0x7a11, classCode: 0x00ff00 },
    bars: { 0: { space: "mem32", size: 4096, regs: { NEXT: { at: 0 }, VERSION: { at: 4 }, ${regs} } } },
    attach({ bars: { 0: reg } }) {
      reg.VERSION.onRead(() => VERSION);
      reg.NEXT.onRead((stored: number) => { reg.NEXT.value = stored + 1; return stored; });
    },
  });
`;
const MARK = "MARK: { at: 8, rw: 0xffff_ffff }";

const TALLYING = guestProgram(`
  place(vcpu);
  vcpu.write(MEMORY + 8, 4, 0x77);
  let expected = 0, seen = 0;
  while (seen !== 9) {
    for (let n = 0; n < 20; n += 1, expected += 1) must(vcpu.read(MEMORY, 4) === expected, "number " + expected);
    const version = vcpu.read(MEMORY + 4, 4);
    if (version !== seen) vcpu.step("version " + version);
    seen = version;
  }
  vcpu.step("mark", { mark: vcpu.read(MEMORY + 0x10, 4) });
`);

test("what is saved is under the guest at once, with the state of what was there; what can't be is told, and the old one goes on", async () => {
  await supervised(
    TALLYING,
    [],
    async (all) => {
      const [device, version] = [all.path("tally.ts"), all.path("version.ts")];
      save(version, "export const VERSION = 1;");
      save(device, dice(MARK));
      await all.start();
      const { pid } = all;
      all.begin();
      await all.step("version 1");

      save(version, "export const VERSION = 2;"); // what it imports, too
      await all.prints(/^tally\.ts: swapped in \d+\.\d ms: 0000:00:10\.0 tally$/);
      await all.step("version 2");

      save(device, dice("MARK: { at: 8, width: 2 }"));
      await all.prints(
        /^tally\.ts: not swapped, the old one goes on: STATE_INCOMPATIBLE: .*bar0\.MARK was 4 bytes wide and is 2/,
      );
      const reload = await all.ioreqdLater("reload", "1", "--state-dir", all.path("state"));
      expect(reload.stderr).toMatch(/RELOAD_FAILED: ioreqd dev swaps a device as it is saved/);
      save(device, "export default {");
      await all.prints(/^tally\.ts: not swapped, .*MODULE_LOAD_FAILED: .*tally\.ts:\d+:\d+/);
      save(device, dice("MARK: { at: 4 }"));
      await all.prints(/^tally\.ts: not swapped, .*TABLE_INVALID: .*VERSION and MARK overlap/);

      save(version, "export const VERSION = 9;");
      save(device, dice("MARK: { at: 0x10, rw: 0xffff_ffff }"));
      await expect(all.guest.done).resolves.toMatchObject({ ok: true });
      expect(all.reports.at(-1)?.detail).toEqual({ mark: 0x77 });
      expect(all.serving()).toBe(pid);
      expect(all.host.crashReason).toBeNull();
      expect(await all.end("SIGTERM")).toBe(0);
    },
    { vcpus: 1, command: "dev", moreArguments: (directory) => [`${directory}/tally.ts,addr=10.0`] },
  );
}, 120_000);

test("without a domain it brings a simulated Xen and a guest along", async () => {
  await withDirectory(async (directory) => {
    writeFileSync(`${directory}/version.ts`, "export const VERSION = 9;");
    writeFileSync(`${directory}/tally.ts`, dice("MARK: { at: 0x10, rw: 0xffff_ffff }"));
    writeFileSync(`${directory}/guest.js`, TALLYING);
    const { XENSIM_SOCKET: _socket, IOREQD_DOMID: _domid, ...env } = process.env;
    const child = spawn(process.execPath, [PROGRAM, "dev", "./tally.ts", "--guest", "./guest.js"], {
      cwd: directory,
      env,
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (text) => {
        output += String(text);
      });
    }
    const [code] = (await once(child, "close")) as [number];
    expect({ code, output }).toMatchObject({ code: 0, output: expect.stringContaining("guest vcpu0: version 9") });
  });
}, 60_000);
