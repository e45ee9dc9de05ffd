// SPDX-License-Identifier: MIT
import { existsSync } from "node:fs";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { probeHost } from "../../src/xen/probe.js";
import { SimFixture, xensimBuilt } from "./sim-fixture.js";

const named = (name: string) => probeHost().find((check) => check.name === name);
const onXen = existsSync("/dev/xen/privcmd");

beforeEach(() => {
  delete process.env["XENSIM_SOCKET"];
});

test("each check has a name of its own, says what it found, and what to do when it is not well", () => {
  const checks = probeHost();
  expect(new Set(checks.map(({ name }) => name)).size).toBe(checks.length);
  for (const { ok, detail, fix } of checks) {
    expect(detail).not.toBe("");
    expect(fix === "").toBe(ok);
  }
});

test("Node.js, the addon and koffi are well where the tests run", () => {
  for (const name of ["Node.js", "addon", "adapter koffi"])
    expect(named(name)).toMatchObject({ ok: true, needed: true, fix: "" });
  expect(named("adapter ffi-napi")).toMatchObject({ needed: false });
});

test("all four libraries are looked for", () => {
  for (const name of [
    "libxendevicemodel.so.1",
    "libxenforeignmemory.so.1",
    "libxenevtchn.so.1",
    "libxentoolcore.so.1",
  ]) {
    const check = named(name);
    expect(check?.ok === true ? check.detail : check?.fix).toMatch(/found by the loader|^apt install libxen/);
  }
});

(onXen ? test.skip : test)("without Xen, the missing nodes are named with the modules that make them", () => {
  expect(named("Xen")).toMatchObject({ ok: false, fix: expect.stringContaining("ioreqd demo") });
  expect(named("/dev/xen/privcmd")).toMatchObject({
    ok: false,
    needed: true,
    fix: expect.stringContaining("modprobe xen-privcmd"),
  });
  expect(named("/dev/xen/evtchn")).toMatchObject({
    ok: false,
    needed: true,
    fix: expect.stringContaining("modprobe xen-evtchn"),
  });
});

(xensimBuilt ? test : test.skip)(
  "on a simulated host that is looked at instead of the nodes, alive or not",
  async () => {
    const fixture = new SimFixture(openAdapter());
    expect(named("simulated host")).toMatchObject({ ok: true, needed: true, fix: "" });
    expect(named("/dev/xen/privcmd")).toBeUndefined();
    expect(named("libxenevtchn.so.1")?.detail).toContain("xensim");
    fixture.xen.close();
    fixture.sim.stop();
    expect(named("simulated host")).toMatchObject({ ok: false, detail: expect.stringContaining("does not answer") });
    await fixture.close();
  },
);
