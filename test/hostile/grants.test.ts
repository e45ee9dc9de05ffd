// SPDX-License-Identifier: MIT
/** A process that its guest has taken over writes into the state file what the next one, which is root, is to open. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checked, Grants } from "../../src/launch/grants.js";
import { SIM_DOMID } from "../../src/sim/host.js";
import { type Launched, withLaunched } from "../support/launched.js";

const PATIENCE_MS = 120_000;

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "ioreqd-grants-"));
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

/** A device module that leaves a trace when it is loaded. */
function module(name: string): string {
  const path = join(scratch, name);
  writeFileSync(
    path,
    `require("node:fs").writeFileSync(__filename + ".loaded", "");
     module.exports = { name: "card", ident: { vendor: 0x1234, device: 1, classCode: 0xff0000 }, bars: {} };`,
  );
  return path;
}
const wasLoaded = (path: string): boolean => existsSync(`${path}.loaded`);

async function killed(launched: Launched): Promise<void> {
  const pid = Number(launched.key("pid"));
  process.kill(pid, "SIGKILL");
  while (existsSync(`/proc/${pid}`)) await new Promise((resolve) => setImmediate(resolve));
}

/** Replace a text in the state file by one of the same length. */
function rewrite(launched: Launched, from: string, to: string): void {
  const path = join(launched.stateDir, String(SIM_DOMID), "state");
  const text = readFileSync(path, "latin1");
  expect(text).toContain(from);
  writeFileSync(path, text.replaceAll(from, to), "latin1");
}

const goOn = (launched: Launched, ...more: string[]) =>
  launched.ioreqd("run", "--domid", String(SIM_DOMID), "--state-dir", launched.stateDir, ...more);

test.each<[string, (path: string) => string]>([
  ["a module", (path) => path],
  ["a ROM", (path) => `edu,romfile=${path}`],
  ["the other end of a chardev", (path) => `pci-serial,chardev=file:${path}`],
])("%s that only the state file names is not opened: the guest waits, and the operator is told", (_what, device) =>
  withLaunched(async (launched) => {
    const [asked, other] = [module("asked.cjs"), module("other.cjs")];
    expect(await launched.deviceModel("-ioreqd", device(asked))).toMatchObject({ status: 0 });
    await killed(launched);
    rewrite(launched, asked, other);
    const { status, stderr } = await goOn(launched);
    expect(stderr).toMatch(/DEVICE_NOT_GRANTED: .*other\.cjs.*Nothing was opened/);
    expect(status).toBe(1);
    expect(wasLoaded(other)).toBe(false);
    // What the operator then asks for is right.
    rewrite(launched, other, asked);
    launched.runInBackground("run", "--domid", String(SIM_DOMID));
    await launched.logged(/taking over from a process that has ended[\s\S]*"ready"/);
  }),
);

test("a device that ioreqd device add has brought comes along, its files, too", () =>
  withLaunched(async (launched) => {
    const added = module("added.cjs");
    expect(await launched.deviceModel("-ioreqd", "edu")).toMatchObject({ status: 0 });
    expect(await launched.ioreqd("device", "add", String(SIM_DOMID), added)).toMatchObject({ status: 0 });
    await killed(launched);
    launched.runInBackground("run", "--domid", String(SIM_DOMID));
    await launched.logged(/taking over from a process that has ended[\s\S]*"ready"/);
    expect((await launched.ioreqd("device", "list", String(SIM_DOMID))).stdout).toContain("card");
  }));

/** The domain ends, and the next that is built has its number. */
function replaceDomain({ store }: Launched): void {
  store.release(SIM_DOMID);
  store.introduce(SIM_DOMID, "guest");
}

test(
  "what was granted for a domain that has ended is not granted for the next of its number",
  () =>
    withLaunched(async (launched) => {
      const [former, next] = [module("one.cjs"), module("two.cjs")];
      expect(await launched.deviceModel("-ioreqd", former)).toMatchObject({ status: 0 });
      await killed(launched);
      replaceDomain(launched);
      expect(await launched.deviceModel("-ioreqd", `${next},addr=11.0`)).toMatchObject({ status: 0 });
      expect(readFileSync(join(launched.stateDir, String(SIM_DOMID), "granted"), "utf8")).toBe(`"device=${next}"\n`);
      await killed(launched);
      rewrite(launched, next, former);
      expect((await goOn(launched)).stderr).toMatch(/DEVICE_NOT_GRANTED: .*one\.cjs/);
    }),
  PATIENCE_MS,
);

test(
  "nor for one that is restored under its number",
  () =>
    withLaunched(async (launched) => {
      const former = module("one.cjs");
      const saved = join(scratch, "saved");
      expect(await launched.deviceModel("-ioreqd", former)).toMatchObject({ status: 0 });
      expect(await launched.ioreqd("save", String(SIM_DOMID), saved)).toMatchObject({ status: 0 });
      await killed(launched);
      replaceDomain(launched);
      const { status, stderr } = await goOn(launched, "--restore", saved);
      expect(stderr).toMatch(/DEVICE_NOT_GRANTED: .*one\.cjs/);
      expect(status).toBe(1);
    }),
  PATIENCE_MS,
);

test("what one name was granted for, another is not", () => {
  const grants = new Grants(join(scratch, "granted"));
  const line = { device: "pci-serial", options: { addr: "0000:00:11.0", chardev: "file:/var/log/line" } };
  grants.add([line, line]);
  expect(readFileSync(grants.path, "utf8")).toBe('"chardev=file:/var/log/line"\n');
  expect(grants.check([line, { device: "edu", options: { addr: "0000:00:10.0" } }], () => [])).toHaveLength(2);
  for (const hostile of [
    { device: "/var/log/line", options: {} },
    { device: "edu", options: { romfile: "/var/log/line" } },
    { device: "pci-serial", options: { chardev: "file:shadow" } },
    { device: "pci-serial", options: { chardev: "unix:/var/log/line" } },
  ]) {
    expect(() => grants.check([line, hostile], () => [])).toThrow(
      expect.objectContaining({ code: "DEVICE_NOT_GRANTED" }) as Error,
    );
    expect(checked([hostile], new Set(), () => [hostile])).toEqual([hostile]);
  }
});
