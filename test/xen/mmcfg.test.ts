// SPDX-License-Identifier: MIT
/** XenHost over each adapter: MMCONFIG windows that Xen knows of, which only the simulated one can have. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type IoservId, type Sbdf, sbdf } from "../../src/base/ids.js";
import { GuestRun } from "../../src/sim/index.js";
import { TYPE } from "../../src/spec/xen-ioreq.js";
import { ADAPTERS, openAdapter } from "../../src/xen/ffi/index.js";
import type { Bound, FfiAdapter, LibraryTable } from "../../src/xen/ffi/table.js";
import { NativeXen } from "../../src/xen/native.js";
import { libxendevicemodelMmcfg } from "../../src/xen/tables/libxendevicemodel.js";
import { installedAdapter } from "./adapters.js";
import { ACCESS_GUEST, accesses, Emulator, type SeenRequest } from "./emulator.js";
import { coded, describeOnXen, simTest } from "./fixture.js";
import { SimFixture, xensimBuilt } from "./sim-fixture.js";

const SOURCES = join(__dirname, "..", "..", "src");
const BASE = 0xe000_0000;
const MIB = 1 << 20;
const ALL = { segment: 0, base: BASE, startBus: 0, endBus: 255 };
const ANSWER = 0x8877_6655_4433_2211n;
/** Two functions of one device, and one that is nobody's. */
const MINE = sbdf(0, 2, 5, 0);
const THEIRS = sbdf(0, 2, 5, 1);
const NOBODYS = sbdf(0, 2, 6, 0);

const at = (where: Sbdf, offset: number, base = BASE): number => base + where * 4096 + offset;
const config = (where: Sbdf, offset: number): bigint => (BigInt(where) << 32n) | BigInt(offset);
const read = (type: number, addr: number | bigint, width: number): SeenRequest => ({
  type,
  addr: BigInt(addr),
  width,
  count: 1,
  written: null,
});

describeOnXen("XenHost, MMCONFIG windows", (now) => {
  simTest("two servers share a window function by function, each in the form it wants", async () => {
    const { xen, domid } = now();
    const native = new Emulator(now(), ANSWER);
    const translated = new Emulator(now(), ANSWER);
    xen.mapMmcfg(domid, native.id, { ...ALL, translated: false });
    xen.mapPciDevice(domid, native.id, MINE);
    xen.mapPciDevice(domid, translated.id, THEIRS);
    const widths = [1, 2, 4, 8];
    const values = [0x11, 0x2211, 0x4433_2211, ANSWER];
    expect(await accesses(now().sim, ...widths.map((width) => `R${width}:${at(MINE, 0x1000 - width)}`))).toEqual(
      values,
    );
    expect(native.take()).toEqual(widths.map((width) => read(TYPE.copy, at(MINE, 0x1000 - width), width)));
    expect(await accesses(now().sim, ...widths.map((width) => `R${width}:${at(THEIRS, 0x1000 - width)}`))).toEqual(
      values,
    );
    expect(translated.take()).toEqual(
      widths.map((width) => read(TYPE.pciConfig, config(THEIRS, 0x1000 - width), width)),
    );
    expect(native.take()).toEqual([]);
    expect(now().sim.counters()).toMatchObject({ mmcfgNative: 4, mmcfgTranslated: 4, copy: 4, pciConfig: 4 });
  });

  simTest("writes carry their bytes, and offsets go from 0 to 0xfff", async () => {
    const { xen, domid } = now();
    const server = new Emulator(now(), ANSWER);
    xen.mapMmcfg(domid, server.id, { ...ALL, translated: true });
    xen.mapPciDevice(domid, server.id, MINE);
    await accesses(now().sim, `W4:${at(MINE, 0)}=0x12345678`, `W8:${at(MINE, 0x100)}=0x1122334455667788`);
    await accesses(now().sim, `W1:${at(MINE, 0xfff)}=0xab`);
    expect(server.take().map(({ addr, width, written }) => [addr, width, written])).toEqual([
      [config(MINE, 0), 4, 0x1234_5678n],
      [config(MINE, 0x100), 8, 0x1122_3344_5566_7788n],
      [config(MINE, 0xfff), 1, 0xabn],
    ]);
  });

  simTest("a function that nobody has reads all-ones, whatever memory is claimed beneath the window", async () => {
    const { xen, domid } = now();
    const server = new Emulator(now(), ANSWER);
    xen.mapIoRange(domid, server.id, "mmio", BASE, BASE + 256 * MIB - 1);
    xen.mapMmcfg(domid, server.id, { ...ALL, translated: true });
    expect(await accesses(now().sim, `R1:${at(NOBODYS, 0)}`, `R4:${at(NOBODYS, 4)}`, `R8:${at(NOBODYS, 8)}`)).toEqual([
      0xff,
      0xffff_ffff,
      2n ** 64n - 1n,
    ]);
    expect(server.take()).toEqual([]);
    xen.unmapMmcfg(domid, server.id, 0);
    expect(await accesses(now().sim, `R4:${at(NOBODYS, 4)}`)).toEqual([0x4433_2211]);
    expect(server.take()).toEqual([read(TYPE.copy, at(NOBODYS, 4), 4)]);
  });

  simTest("an access over the end of a function is cut there", async () => {
    const { xen, domid } = now();
    const server = new Emulator(now(), ANSWER);
    xen.mapMmcfg(domid, server.id, { ...ALL, translated: true });
    xen.mapPciDevice(domid, server.id, MINE);
    expect(await accesses(now().sim, `R4:${at(MINE, 0xffe)}`)).toEqual([0xffff_2211]);
    expect(server.take()).toEqual([read(TYPE.pciConfig, config(MINE, 0xffe), 2)]);
  });

  simTest("the form can be changed, and is not bound to having a window", async () => {
    const { xen, domid } = now();
    const chipset = new Emulator(now(), ANSWER);
    const server = new Emulator(now(), ANSWER);
    xen.mapMmcfg(domid, chipset.id, { ...ALL, translated: false });
    xen.mapPciDevice(domid, server.id, MINE);
    xen.setMmcfgTranslated(domid, server.id, false);
    await accesses(now().sim, `R4:${at(MINE, 8)}`);
    xen.setMmcfgTranslated(domid, server.id, true);
    await accesses(now().sim, `R4:${at(MINE, 8)}`);
    expect(server.take().map(({ type }) => type)).toEqual([TYPE.copy, TYPE.pciConfig]);
  });

  simTest("a window moves in one step under a running vCPU", async () => {
    const { xen, domid, sim } = now();
    const server = new Emulator(now(), ANSWER);
    const bases = [BASE, BASE - 256 * MIB];
    let moves = -1;
    const move = (): void => {
      moves += 1;
      xen.mapMmcfg(domid, server.id, { ...ALL, base: bases[moves % 2] as number, translated: true });
    };
    move();
    xen.mapPciDevice(domid, server.id, MINE);
    const run = new GuestRun(sim, {
      program: ACCESS_GUEST,
      arguments: ["follow", ...bases.map((base) => String(at(MINE, 0, base))), "50"],
      onReport: () => setImmediate(move),
    });
    await run.loaded;
    sim.unpause();
    run.begin();
    expect(await run.done).toMatchObject({ ok: true });
    expect(moves).toBe(50);
    expect(new Set(server.take().map(({ addr }) => addr))).toEqual(new Set([config(MINE, 0)]));
    expect(sim.mmcfgWindows()).toHaveLength(1);
  });

  simTest("Xen has the windows that it was told of; they go with their server", () => {
    const { xen, domid, sim } = now();
    const first = xen.createIoreqServer(domid, "off");
    const second = xen.createIoreqServer(domid, "off");
    xen.mapMmcfg(domid, first, { ...ALL, translated: true });
    xen.mapMmcfg(domid, second, { segment: 0xffff, base: 2n ** 40n, startBus: 16, endBus: 31, translated: false });
    expect(sim.mmcfgWindows()).toEqual([
      { server: first, segment: 0, base: BigInt(BASE), startBus: 0, endBus: 255 },
      { server: second, segment: 0xffff, base: 2n ** 40n, startBus: 16, endBus: 31 },
    ]);
    xen.destroyIoreqServer(domid, first);
    xen.unmapMmcfg(domid, second, 0xffff);
    expect(sim.mmcfgWindows()).toEqual([]);
  });

  simTest("a window that cannot be is refused with the reason, and what was there stays", () => {
    const { xen, domid, sim } = now();
    const id = xen.createIoreqServer(domid, "off");
    const other = xen.createIoreqServer(domid, "off");
    const map = (server: IoservId, changes: Partial<typeof ALL>) => () =>
      xen.mapMmcfg(domid, server, { ...ALL, ...changes, translated: true });
    map(id, {})();
    const before = sim.mmcfgWindows();
    const call = `map_mmcfg_to_ioreq_server(domid 1, server 0, segment 0x0, base 0xe0100000, buses 0x0-0xff): EINVAL`;
    expect(map(id, { base: BASE + MIB })).toThrow(
      coded("XEN_CALL_FAILED", `${call} (the buses are in the wrong order`),
    );
    expect(map(id, { startBus: 2, endBus: 1 })).toThrow(coded("XEN_CALL_FAILED", "EINVAL"));
    expect(map(id, { base: 0, endBus: 0 })).toThrow(coded("XEN_CALL_FAILED", "guest RAM"));
    expect(map(other, {})).toThrow(coded("XEN_RANGE_TAKEN", "another server has told"));
    expect(map(other, { segment: 1 })).toThrow(coded("XEN_RANGE_TAKEN", "another segment's window"));
    expect(map(7 as IoservId, { segment: 1, base: 0x4000_0000 })).toThrow(coded("XEN_CALL_FAILED", "ENOENT"));
    expect(map(id, { endBus: 256 })).toThrow(coded("BAD_VALUE", "bus 256: 0 to 255"));
    expect(() => xen.unmapMmcfg(domid, other, 0)).toThrow(coded("XEN_CALL_FAILED", "no window in that segment"));
    expect(sim.mmcfgWindows()).toEqual(before);
  });

  test("where the library lacks the calls, it says so and refuses; all else works", () => {
    const { xen, domid } = now();
    const without = new NativeXen(lacking(openAdapter("koffi")));
    expect(without.translatesMmcfg).toBe(false);
    expect(without.nrVcpus(domid)).toBe(xen.nrVcpus(domid));
    const id = without.createIoreqServer(domid, "off");
    const refused = coded(
      "XEN_CALL_FAILED",
      "ENOSYS (only the simulated Xen has this call; claim the window as memory",
    );
    expect(() => without.mapMmcfg(domid, id, { ...ALL, translated: true })).toThrow(refused);
    expect(() => without.unmapMmcfg(domid, id, 0)).toThrow(refused);
    expect(() => without.setMmcfgTranslated(domid, id, true)).toThrow(refused);
    without.destroyIoreqServer(domid, id);
    without.close();
  });
});

/** An adapter whose libraries are a real Xen's. */
function lacking(ffi: FfiAdapter): FfiAdapter {
  return {
    ...ffi,
    bind<const T extends LibraryTable>(table: T): Bound<T> {
      return (table as LibraryTable) === libxendevicemodelMmcfg ? ({} as Bound<T>) : ffi.bind(table);
    },
  };
}

const REAL_LIBRARY = "/usr/lib/x86_64-linux-gnu/libxendevicemodel.so.1";

for (const name of ADAPTERS) {
  // In a process of its own: this one has loaded the simulated library, which has the same name.
  const lacks = !existsSync(REAL_LIBRARY)
    ? ": no libxendevicemodel1 here"
    : installedAdapter(name)
      ? ""
      : ": not installed";
  (lacks === "" ? test : test.skip)(
    `the real library has none of the calls, and ${name} binds it all the same${lacks}`,
    () => {
      const code = `
        const { openAdapter } = require("${SOURCES}/xen/ffi/index.js");
        const tables = require("${SOURCES}/xen/tables/libxendevicemodel.js");
        const ffi = openAdapter("${name}");
        const found = (table) => Object.values(ffi.bind(table)).filter((call) => call !== undefined).length;
        console.log(found(tables.libxendevicemodelMmcfg), found(tables.libxendevicemodel) > 0);`;
      const { XENSIM_SOCKET: _, LD_LIBRARY_PATH: __, ...env } = process.env;
      expect(execFileSync(process.execPath, ["-e", code], { env, encoding: "utf8" })).toBe("0 true\n");
    },
  );
}

(xensimBuilt ? describe : describe.skip)("MMCONFIG windows on Arm (simulated)", () => {
  simTest("a function that nobody has reads all-ones too; outside the window it is a data abort", async () => {
    const fixture = new SimFixture(openAdapter("koffi"), { arch: "arm" });
    const { xen, domid, sim } = fixture;
    const server = new Emulator(fixture, ANSWER);
    xen.mapMmcfg(domid, server.id, { ...ALL, translated: true });
    xen.mapPciDevice(domid, server.id, MINE);
    expect(await accesses(sim, `R4:${at(MINE, 0x100)}`, `R4:${at(NOBODYS, 0)}`)).toEqual([0x4433_2211, 0xffff_ffff]);
    const run = new GuestRun(sim, { program: ACCESS_GUEST, arguments: ["access", `R4:${BASE - 4}`] });
    await run.loaded;
    run.begin();
    expect((await run.done).vcpus[0]).toMatchObject({ state: "failed", code: "DATA_ABORT" });
    await fixture.close();
  });
});
