// SPDX-License-Identifier: MIT
/** XenHost over each adapter, on the simulated host or a real Xen: servers, ranges, interrupts, the end. */

import { domId, type EvtchnPort, gfn, parseSbdf } from "../../src/base/ids.js";
import { loadAddon as loadSimAddon } from "../../src/sim/addon.js";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { coded, describeOnXen, simTest } from "./fixture.js";
import { SimFixture, xensimBuilt } from "./sim-fixture.js";

const edu = parseSbdf("00:10.0");

describeOnXen("XenHost", (now) => {
  test("tells how many vCPUs there are", () => {
    const { xen } = now();
    expect(xen.nrVcpus(now().domid)).toBe(2);
  });

  test("a server is made, enabled, disabled and destroyed; a second destroy says that it is gone", () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "off");
    xen.setIoreqServerState(domid, id, true);
    xen.setIoreqServerState(domid, id, false);
    xen.destroyIoreqServer(domid, id);
    expect(() => xen.destroyIoreqServer(domid, id)).toThrow(
      coded("XEN_CALL_FAILED", "ENOENT (there is no such ioreq server"),
    );
  });

  test("the ninth server is refused, with the reason", () => {
    const { xen, domid, otherServers } = now();
    for (let i = otherServers; i < 8; i += 1) xen.createIoreqServer(domid, "atomic");
    expect(() => xen.createIoreqServer(domid, "atomic")).toThrow(
      coded("XEN_CALL_FAILED", `create_ioreq_server(domid ${domid}, bufioreq atomic): ENOSPC (the domain has its 8`),
    );
  });

  test("mapping ports twice throws XEN_RANGE_TAKEN and keeps the first mapping", () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "off");
    xen.mapIoRange(domid, id, "pio", 0x500, 0x50f);
    expect(() => xen.mapIoRange(domid, id, "pio", 0x50f, 0x510)).toThrow(
      coded("XEN_RANGE_TAKEN", `map_io_range_to_ioreq_server(domid ${domid}, server ${id}, ports 0x50f-0x510): EEXIST`),
    );
    xen.unmapIoRange(domid, id, "pio", 0x500, 0x50f);
    expect(() => xen.unmapIoRange(domid, id, "pio", 0x500, 0x50f)).toThrow(coded("XEN_CALL_FAILED", "no such range"));
  });

  test("memory ranges go up to the last address, as numbers or bigints", () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "off");
    xen.mapIoRange(domid, id, "mmio", 0xf000_0000, 0xf000_0fff);
    xen.mapIoRange(domid, id, "mmio", 2n ** 63n, 2n ** 64n - 1n);
    expect(() => xen.mapIoRange(domid, id, "mmio", 2, 1)).toThrow(
      coded("XEN_CALL_FAILED", "memory 0x2-0x1): EINVAL (the end lies before"),
    );
  });

  test("a PCI function is claimed once", () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "off");
    xen.mapPciDevice(domid, id, edu);
    expect(() => xen.mapPciDevice(domid, id, edu)).toThrow(coded("XEN_RANGE_TAKEN", "function 0000:00:10.0"));
    xen.unmapPciDevice(domid, id, edu);
    expect(() => xen.unmapPciDevice(domid, id, edu)).toThrow(coded("XEN_CALL_FAILED", "ENOENT"));
  });

  simTest("Xen has the ranges that were mapped, and only those", () => {
    const { xen, domid, sim } = now();
    const id = xen.createIoreqServer(domid, "off");
    xen.mapIoRange(domid, id, "pio", 0x500, 0x50f);
    xen.mapIoRange(domid, id, "mmio", 0xf000_0000, 0xf000_0fff);
    xen.mapIoRange(domid, id, "mmio", 2n ** 63n, 2n ** 64n - 1n);
    xen.mapPciDevice(domid, id, edu);
    xen.mapIoRange(domid, id, "pio", 0x600, 0x600);
    xen.unmapIoRange(domid, id, "pio", 0x600, 0x600);
    expect(() => xen.mapIoRange(domid, id, "pio", 0x50f, 0x510)).toThrow(coded("XEN_RANGE_TAKEN"));
    expect(sim.ranges(id)).toEqual([
      { type: 0, start: 0x500n, end: 0x50fn },
      { type: 1, start: 0xf000_0000n, end: 0xf000_0fffn },
      { type: 1, start: 2n ** 63n, end: 2n ** 64n - 1n },
      { type: 2, start: BigInt(edu), end: BigInt(edu) },
    ]);
  });

  test("only the simulated Xen can be told of an MMCONFIG window; a real one refuses, with the reason", () => {
    const { xen, domid } = now();
    const simulated = process.env["IOREQD_TEST_DOMID"] === undefined;
    const id = xen.createIoreqServer(domid, "off");
    const window = { segment: 0, base: 0xe000_0000, startBus: 0, endBus: 255, translated: true };
    expect(xen.translatesMmcfg).toBe(simulated);
    if (simulated) xen.mapMmcfg(domid, id, window);
    else expect(() => xen.mapMmcfg(domid, id, window)).toThrow(coded("XEN_CALL_FAILED", "ENOSYS"));
  });

  test("interrupt lines are set twice to the same level, and a device above 31 has none", () => {
    const { xen, domid } = now();
    for (const level of [true, true, false, false]) xen.setIntxLevel(domid, 16, 0, level);
    expect(() => xen.setIntxLevel(domid, 32, 0, true)).toThrow(
      coded("XEN_CALL_FAILED", `set_pci_intx_level(domid ${domid}, device 32, pin A, level 1): EINVAL`),
    );
    for (const level of [true, true, false, false]) xen.setIsaIrqLevel(domid, 4, level);
  });

  simTest("interrupt lines have a level, and messages arrive as they were sent", () => {
    const { xen, domid, sim } = now();
    // GSI of device 16, pin A. Source: Xen arch/x86/hvm/irq.c, hvm_pci_intx_gsi.
    const gsi = (((16 << 2) + (16 >> 3) + 0) & 31) + 16;
    xen.setIntxLevel(domid, 16, 0, true);
    expect(sim.gsiLevel(gsi)).toBe(true);
    xen.setIntxLevel(domid, 16, 0, false);
    expect(sim.gsiLevel(gsi)).toBe(false);
    xen.setIsaIrqLevel(domid, 4, true);
    expect(sim.gsiLevel(4)).toBe(true);
    xen.injectMsi(domid, 0xfee0_1000, 0x4041 | 0);
    xen.injectMsi(domid, 0xfee0_1000n, 0x4042);
    expect(sim.counters().msiOps).toBe(2);
    expect(loadSimAddon().takeMsi(sim.id)).toBe(true);
  });

  simTest("once the domain is gone every call says XEN_DOMAIN_GONE", () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "atomic");
    const remote = xen.bufioreqPort(domid, id) as EvtchnPort;
    const channels = xen.openEventChannels();
    now().sim.destroyDomain();
    const gone = coded("XEN_DOMAIN_GONE", "ESRCH (there is no such domain, or it is being destroyed)");
    expect(() => xen.nrVcpus(domid)).toThrow(gone);
    expect(() => xen.mapIoRange(domid, id, "pio", 1, 1)).toThrow(gone);
    expect(() => xen.setIoreqServerState(domid, id, false)).toThrow(gone);
    expect(() => xen.setIntxLevel(domid, 1, 0, true)).toThrow(gone);
    expect(() => xen.injectMsi(domid, 0xfee00000, 0)).toThrow(gone);
    expect(() => xen.mapIoreqPages(domid, id, { ring: true, vcpus: 2 })).toThrow(gone);
    expect(() => channels.bindInterdomain(domid, remote)).toThrow(gone);
  });

  test("close unmaps and closes what is left, and what comes after says so", () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "atomic");
    const pages = xen.mapIoreqPages(domid, id, { ring: true, vcpus: 2 });
    const foreign = xen.mapForeign(domid, [gfn(1)], "rw");
    const channels = xen.openEventChannels();
    channels.poll(
      () => {},
      () => {},
    );
    const publish = channels.publisher(pages.ioreq);
    xen.close();
    xen.close();
    expect([pages.ioreq.byteLength, pages.ring?.byteLength, foreign.buffer.byteLength]).toEqual([0, 0, 0]);
    expect(publish(0, 1 as EvtchnPort)).toBe(9 /* EBADF */);
    for (const call of [
      () => xen.nrVcpus(domid),
      () => xen.mapForeign(domid, [gfn(1)], "r"),
      () => xen.openEventChannels(),
      () => channels.notify(1 as EvtchnPort),
    ]) {
      expect(call).toThrow(coded("XEN_CLOSED"));
    }
  });

  simTest("close gives every page back to Xen", () => {
    const { xen, domid, sim } = now();
    xen.mapIoreqPages(domid, xen.createIoreqServer(domid, "atomic"), { ring: true, vcpus: 2 });
    xen.mapForeign(domid, [gfn(1)], "rw");
    expect(sim.mappedPages).toBeGreaterThan(0);
    xen.close();
    expect(sim.mappedPages).toBe(0);
  });

  test("after restrict another domain is out of reach", () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "off");
    xen.restrict(domid);
    xen.mapIoRange(domid, id, "pio", 1, 1);
    expect(() => xen.nrVcpus(domId(domid + 1))).toThrow(coded("XEN_CALL_FAILED", "EPERM"));
  });
});

(xensimBuilt ? describe : describe.skip)("XenHost on Arm (simulated)", () => {
  simTest("has shared interrupts, no ring and no INTx", async () => {
    const fixture = new SimFixture(openAdapter("koffi"), { arch: "arm" });
    const { xen, domid } = fixture;
    xen.setIrqLevel(domid, 40, true);
    expect(() => xen.createIoreqServer(domid, "atomic")).toThrow(coded("XEN_CALL_FAILED", "--bufioreq off"));
    expect(() => xen.setIntxLevel(domid, 1, 0, true)).toThrow(coded("XEN_CALL_FAILED", "EOPNOTSUPP"));
    expect(() => xen.setIrqLevel(domid, 3, true)).toThrow(coded("XEN_CALL_FAILED", "EINVAL"));
    const id = xen.createIoreqServer(domid, "off");
    expect(xen.mapIoreqPages(domid, id, { ring: false, vcpus: 1 }).ring).toBeNull();
    await fixture.close();
  });
});
