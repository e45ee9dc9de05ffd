// SPDX-License-Identifier: MIT
/** XenHost over each adapter, on the simulated host. */

import { type EvtchnPort, type Gfn, gfn, parseSbdf } from "../../src/base/ids.js";
import { loadAddon as loadSimAddon } from "../../src/sim/addon.js";
import { DIR_READ, IOREQ, PAGE_SIZE, STATE, STATE_MASK, WORD } from "../../src/spec/xen-ioreq.js";
import { ADAPTERS, openAdapter } from "../../src/xen/ffi/index.js";
import type { FfiAdapter } from "../../src/xen/ffi/table.js";
import type { XenHost } from "../../src/xen/host.js";
import { SimFixture, xensimBuilt } from "./sim-fixture.js";

function installed(name: (typeof ADAPTERS)[number]): FfiAdapter | null {
  try {
    return openAdapter(name);
  } catch (error) {
    if (name === "koffi") throw error;
    return null;
  }
}

const coded = (code: string, words = "") => expect.objectContaining({ code, message: expect.stringContaining(words) });
const edu = parseSbdf("00:10.0");

for (const name of ADAPTERS) {
  const adapter = xensimBuilt ? installed(name) : null;
  const why = adapter !== null ? "" : xensimBuilt ? ": not installed" : ": xensim is not built";
  (adapter === null ? describe.skip : describe)(`XenHost contract (${name}${why})`, () => {
    let fixture: SimFixture;
    let xen: XenHost;
    beforeEach(() => {
      fixture = new SimFixture(adapter as FfiAdapter);
      xen = fixture.xen;
    });
    afterEach(() => fixture.close());

    test("tells how many vCPUs there are", () => {
      expect(xen.nrVcpus(fixture.domid)).toBe(2);
    });

    test("a server is made, enabled, disabled and destroyed; a second destroy says that it is gone", () => {
      const { domid } = fixture;
      const id = xen.createIoreqServer(domid, "off");
      xen.setIoreqServerState(domid, id, true);
      xen.setIoreqServerState(domid, id, false);
      xen.destroyIoreqServer(domid, id);
      expect(() => xen.destroyIoreqServer(domid, id)).toThrow(coded("XEN_CALL_FAILED", "ENOENT (there is no such ioreq server"));
    });

    test("the ninth server is refused, with the reason", () => {
      for (let i = 0; i < 8; i += 1) xen.createIoreqServer(fixture.domid, "atomic");
      expect(() => xen.createIoreqServer(fixture.domid, "atomic")).toThrow(
        coded("XEN_CALL_FAILED", "create_ioreq_server(domid 1, bufioreq atomic): ENOSPC (the domain has its 8"),
      );
    });

    test("mapping ports twice throws XEN_RANGE_TAKEN and keeps the first mapping", () => {
      const { domid } = fixture;
      const id = xen.createIoreqServer(domid, "off");
      xen.mapIoRange(domid, id, "pio", 0x500, 0x50f);
      expect(() => xen.mapIoRange(domid, id, "pio", 0x50f, 0x510)).toThrow(
        coded("XEN_RANGE_TAKEN", "map_io_range_to_ioreq_server(domid 1, server 0, ports 0x50f-0x510): EEXIST"),
      );
      expect(fixture.sim.ranges(id)).toEqual([{ type: 0, start: 0x500n, end: 0x50fn }]);
      xen.unmapIoRange(domid, id, "pio", 0x500, 0x50f);
      expect(() => xen.unmapIoRange(domid, id, "pio", 0x500, 0x50f)).toThrow(coded("XEN_CALL_FAILED", "no such range"));
    });

    test("memory ranges go up to the last address, as numbers or bigints", () => {
      const { domid } = fixture;
      const id = xen.createIoreqServer(domid, "off");
      xen.mapIoRange(domid, id, "mmio", 0xf000_0000, 0xf000_0fff);
      xen.mapIoRange(domid, id, "mmio", 2n ** 63n, 2n ** 64n - 1n);
      expect(fixture.sim.ranges(id)).toEqual([
        { type: 1, start: 0xf000_0000n, end: 0xf000_0fffn },
        { type: 1, start: 2n ** 63n, end: 2n ** 64n - 1n },
      ]);
      expect(() => xen.mapIoRange(domid, id, "mmio", 2, 1)).toThrow(coded("XEN_CALL_FAILED", "memory 0x2-0x1): EINVAL (the end lies before"));
    });

    test("a PCI function is claimed once", () => {
      const { domid } = fixture;
      const id = xen.createIoreqServer(domid, "off");
      xen.mapPciDevice(domid, id, edu);
      expect(fixture.sim.ranges(id)).toEqual([{ type: 2, start: BigInt(edu), end: BigInt(edu) }]);
      expect(() => xen.mapPciDevice(domid, id, edu)).toThrow(coded("XEN_RANGE_TAKEN", "function 0000:00:10.0"));
      xen.unmapPciDevice(domid, id, edu);
      expect(() => xen.unmapPciDevice(domid, id, edu)).toThrow(coded("XEN_CALL_FAILED", "ENOENT"));
    });

    test("a server has a ring and its port only when it asks for one", () => {
      const { domid } = fixture;
      const without = xen.createIoreqServer(domid, "off");
      const withRing = xen.createIoreqServer(domid, "atomic");
      expect(xen.bufioreqPort(domid, without)).toBeNull();
      expect(xen.bufioreqPort(domid, withRing)).toBeGreaterThan(0);
      expect(() => xen.mapIoreqPages(domid, without, { ring: true, vcpus: 2 })).toThrow(coded("XEN_CALL_FAILED", "map_resource(domid 1, server 0, frames 0-1)"));
      const pages = xen.mapIoreqPages(domid, withRing, { ring: true, vcpus: 2 });
      expect(pages.ioreq.byteLength).toBe(PAGE_SIZE);
      expect(pages.ring?.byteLength).toBe(PAGE_SIZE);
      new Uint8Array(pages.ring as ArrayBuffer)[0] = 1;
      expect(new Uint8Array(pages.ioreq)[0]).toBe(0);
      pages.unmap();
    });

    test("unmapped pages are taken away from JavaScript and given back to Xen; the next mapping has what was there", () => {
      const { domid } = fixture;
      const id = xen.createIoreqServer(domid, "off");
      const pages = xen.mapIoreqPages(domid, id, { ring: false, vcpus: 2 });
      expect(pages.ring).toBeNull();
      const bytes = new Uint8Array(pages.ioreq);
      bytes[4095] = 7;
      pages.unmap();
      pages.unmap();
      expect([pages.ioreq.byteLength, bytes[4095]]).toEqual([0, undefined]);
      expect(fixture.sim.mappedPages).toBe(0);
      const again = xen.mapIoreqPages(domid, id, { ring: false, vcpus: 2 });
      expect(new Uint8Array(again.ioreq)[4095]).toBe(7);
    });

    test("a guest's access raises an event, and the published reply reaches it", async () => {
      const { domid } = fixture;
      const id = xen.createIoreqServer(domid, "off");
      const { ioreq } = xen.mapIoreqPages(domid, id, { ring: false, vcpus: 2 });
      xen.mapIoRange(domid, id, "pio", 0x505, 0x505);
      xen.setIoreqServerState(domid, id, true);
      const words = new Uint32Array(ioreq);
      const bytes = new Uint8Array(ioreq);
      const channels = xen.openEventChannels();
      const bound = [0, 1].map((vcpu) => channels.bindInterdomain(domid, words[vcpu * WORD.perSlot + WORD.evtchn] as EvtchnPort));
      const publish = channels.publisher(ioreq);
      const served: number[] = [];
      const poller = channels.poll(
        (count) => {
          for (const port of poller.ports.subarray(0, count)) {
            const vcpu = bound.indexOf(port as EvtchnPort);
            channels.unmask(port as EvtchnPort);
            const at = vcpu * IOREQ.size + IOREQ.flags;
            if (((bytes[at] as number) & STATE_MASK) !== STATE.ready) continue;
            expect((bytes[at] as number) & DIR_READ).toBe(DIR_READ);
            Atomics.store(bytes, at, ((bytes[at] as number) & ~STATE_MASK) | STATE.inProcess);
            words[vcpu * WORD.perSlot + WORD.dataLo] = 0x60 + vcpu;
            expect(publish(vcpu, bound[vcpu] as EvtchnPort)).toBe(0);
            served.push(vcpu);
          }
        },
        (error) => {
          throw error;
        },
      );
      fixture.sim.unpause();
      expect(await Promise.all([fixture.inPort(0, 0x505, 1), fixture.inPort(1, 0x505, 1)])).toEqual([0x60, 0x61]);
      expect(await fixture.inPort(1, 0x505, 1)).toBe(0x61);
      expect(served.sort()).toEqual([0, 1, 1]);
      expect(fixture.sim.crashReason).toBeNull();
      poller.stop();
      channels.close();
      expect(publish(0, bound[0] as EvtchnPort)).toBe(9 /* EBADF */);
    });

    test("a second process cannot bind what the first one holds, until it lets go", () => {
      const { domid } = fixture;
      const id = xen.createIoreqServer(domid, "atomic");
      const remote = xen.bufioreqPort(domid, id) as EvtchnPort;
      const first = xen.openEventChannels();
      const second = xen.openEventChannels();
      const port = first.bindInterdomain(domid, remote);
      expect(() => second.bindInterdomain(domid, remote)).toThrow(coded("XEN_PORT_TAKEN", "another process serves this domain"));
      first.notify(port);
      first.unbind(port);
      expect(() => first.notify(port)).toThrow(coded("XEN_CALL_FAILED", "ENOTCONN (this process has not bound that port)"));
      expect(second.bindInterdomain(domid, remote)).toBeGreaterThan(0);
    });

    test("binding raises an event, for whoever bound too late to hear the first", () => {
      const { domid } = fixture;
      const id = xen.createIoreqServer(domid, "atomic");
      const channels = xen.openEventChannels();
      const poller = channels.poll(
        () => {},
        () => {},
      );
      const port = channels.bindInterdomain(domid, xen.bufioreqPort(domid, id) as EvtchnPort);
      expect([poller.drain(), poller.ports[0]]).toEqual([1, port]);
      expect(poller.drain()).toBe(0);
    });

    test("interrupt lines have a level, and messages arrive as they were sent", () => {
      const { domid, sim } = fixture;
      // GSI of device 16, pin A. Source: Xen arch/x86/hvm/irq.c, hvm_pci_intx_gsi.
      const gsi = (((16 << 2) + (16 >> 3) + 0) & 31) + 16;
      xen.setIntxLevel(domid, 16, 0, true);
      expect(sim.gsiLevel(gsi)).toBe(true);
      xen.setIntxLevel(domid, 16, 0, false);
      expect(sim.gsiLevel(gsi)).toBe(false);
      expect(() => xen.setIntxLevel(domid, 32, 0, true)).toThrow(coded("XEN_CALL_FAILED", "set_pci_intx_level(domid 1, device 32, pin A, level 1): EINVAL"));
      xen.setIsaIrqLevel(domid, 4, true);
      expect(sim.gsiLevel(4)).toBe(true);
      xen.injectMsi(domid, 0xfee0_1000, 0x4041 | 0);
      xen.injectMsi(domid, 0xfee0_1000n, 0x4042);
      expect(sim.counters().msiOps).toBe(2);
      expect(loadSimAddon().takeMsi(sim.id)).toBe(true);
    });

    test("guest pages are mapped in the order given, and a bad one is told by its errno", () => {
      const { domid, sim } = fixture;
      sim.ram[3 * PAGE_SIZE] = 0x33;
      sim.ram[5 * PAGE_SIZE + 1] = 0x55;
      const mapped = xen.mapForeign(domid, [5, 0xfffff, 3].map(gfn), "rw");
      expect(mapped.buffer.byteLength).toBe(3 * PAGE_SIZE);
      expect([mapped.errors[0], mapped.errors[2]]).toEqual([0, 0]);
      expect(mapped.errors[1]).toBeGreaterThan(0);
      const bytes = new Uint8Array(mapped.buffer);
      expect([bytes[1], bytes[2 * PAGE_SIZE]]).toEqual([0x55, 0x33]);
      bytes[2 * PAGE_SIZE] = 0x34;
      expect(sim.ram[3 * PAGE_SIZE]).toBe(0x34);
      mapped.unmap();
      expect([mapped.buffer.byteLength, sim.mappedPages]).toEqual([0, 0]);

      const typed = xen.mapForeign(domid, Float64Array.of(3), "r");
      expect(new Uint8Array(typed.buffer)[0]).toBe(0x34);
      expect(() => xen.mapForeign(domid, [], "r")).toThrow(coded("BAD_VALUE"));
    });

    test("a thousand mappings one after another leave nothing behind", () => {
      for (let i = 0; i < 1000; i += 1) {
        const mapped = xen.mapForeign(fixture.domid, [gfn(i % 200)], "rw");
        new Uint8Array(mapped.buffer)[0] = i & 0xff;
        mapped.unmap();
      }
      expect(fixture.sim.mappedPages).toBe(0);
    });

    test("modified pages are told for migration", () => {
      fixture.sim.logDirty(true);
      xen.modifiedMemory(fixture.domid, 4 as Gfn, 2);
      expect(fixture.sim.takeDirty()).toEqual([4, 5]);
    });

    test("once the domain is gone every call says XEN_DOMAIN_GONE", () => {
      const { domid } = fixture;
      const id = xen.createIoreqServer(domid, "atomic");
      const remote = xen.bufioreqPort(domid, id) as EvtchnPort;
      const channels = xen.openEventChannels();
      fixture.sim.destroyDomain();
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
      const { domid, sim } = fixture;
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
      expect([pages.ioreq.byteLength, pages.ring?.byteLength, foreign.buffer.byteLength, sim.mappedPages]).toEqual([0, 0, 0, 0]);
      expect(publish(0, 1 as EvtchnPort)).toBe(9 /* EBADF */);
      for (const call of [() => xen.nrVcpus(domid), () => xen.mapForeign(domid, [gfn(1)], "r"), () => xen.openEventChannels(), () => channels.notify(1 as EvtchnPort)]) {
        expect(call).toThrow(coded("XEN_CLOSED"));
      }
    });

    test("after restrict another domain is out of reach", () => {
      const id = xen.createIoreqServer(fixture.domid, "off");
      xen.restrict(fixture.domid);
      xen.mapIoRange(fixture.domid, id, "pio", 1, 1);
      expect(() => xen.nrVcpus(2 as typeof fixture.domid)).toThrow(coded("XEN_CALL_FAILED", "EPERM"));
    });
  });
}

(xensimBuilt ? describe : describe.skip)("XenHost on Arm (simulated)", () => {
  test("has shared interrupts, no ring and no INTx", async () => {
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
