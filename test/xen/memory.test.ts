// SPDX-License-Identifier: MIT
/** Shared and guest pages over each adapter, on the simulated host or a real Xen. */

import { type Gfn, gfn } from "../../src/base/ids.js";
import { PAGE_SIZE } from "../../src/spec/xen-ioreq.js";
import { coded, describeOnXen, simTest } from "./fixture.js";

/** RAM below the VGA hole at frame 0xa0. */
const LOW_FRAMES = 0xa0;

describeOnXen("XenHost, memory", (now) => {
  test("a server has a ring and its port only when it asks for one", () => {
    const { xen, domid } = now();
    const without = xen.createIoreqServer(domid, "off");
    const withRing = xen.createIoreqServer(domid, "atomic");
    expect(xen.bufioreqPort(domid, without)).toBeNull();
    expect(xen.bufioreqPort(domid, withRing)).toBeGreaterThan(0);
    expect(() => xen.mapIoreqPages(domid, without, { ring: true, vcpus: 2 })).toThrow(
      coded("XEN_CALL_FAILED", `map_resource(domid ${domid}, server ${without}, frames 0-1)`),
    );
    const pages = xen.mapIoreqPages(domid, withRing, { ring: true, vcpus: 2 });
    expect(pages.ioreq.byteLength).toBe(PAGE_SIZE);
    expect(pages.ring?.byteLength).toBe(PAGE_SIZE);
    new Uint8Array(pages.ring as ArrayBuffer)[0] = 1;
    expect(new Uint8Array(pages.ioreq)[0]).toBe(0);
    pages.unmap();
  });

  test("unmapped pages are taken away from JavaScript; the next mapping has what was there", () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "off");
    const pages = xen.mapIoreqPages(domid, id, { ring: false, vcpus: 2 });
    expect(pages.ring).toBeNull();
    const bytes = new Uint8Array(pages.ioreq);
    bytes[4095] = 7;
    pages.unmap();
    pages.unmap();
    expect([pages.ioreq.byteLength, bytes[4095]]).toEqual([0, undefined]);
    const again = xen.mapIoreqPages(domid, id, { ring: false, vcpus: 2 });
    expect(new Uint8Array(again.ioreq)[4095]).toBe(7);
  });

  simTest("unmapped pages are given back to Xen", () => {
    const { xen, domid, sim } = now();
    const pages = xen.mapIoreqPages(domid, xen.createIoreqServer(domid, "off"), { ring: false, vcpus: 2 });
    const mapped = xen.mapForeign(domid, [gfn(3)], "rw");
    expect(sim.mappedPages).toBeGreaterThan(0);
    pages.unmap();
    mapped.unmap();
    expect(sim.mappedPages).toBe(0);
  });

  test("guest pages are mapped in the order given, and a bad one is told by its errno", () => {
    const { xen, domid } = now();
    const before = xen.mapForeign(domid, [3, 5].map(gfn), "rw");
    new Uint8Array(before.buffer)[0] = 0x33;
    new Uint8Array(before.buffer)[PAGE_SIZE + 1] = 0x55;
    before.unmap();
    const mapped = xen.mapForeign(domid, [5, 0xfffff, 3].map(gfn), "rw");
    expect(mapped.buffer.byteLength).toBe(3 * PAGE_SIZE);
    expect([mapped.errors[0], mapped.errors[2]]).toEqual([0, 0]);
    expect(mapped.errors[1]).toBeGreaterThan(0);
    const bytes = new Uint8Array(mapped.buffer);
    expect([bytes[1], bytes[2 * PAGE_SIZE]]).toEqual([0x55, 0x33]);
    bytes[2 * PAGE_SIZE] = 0x34;
    mapped.unmap();
    expect(mapped.buffer.byteLength).toBe(0);

    const typed = xen.mapForeign(domid, Float64Array.of(3), "r");
    expect(new Uint8Array(typed.buffer)[0]).toBe(0x34);
    expect(() => xen.mapForeign(domid, [], "r")).toThrow(coded("BAD_VALUE"));
  });

  simTest("a mapped page is the guest's own, not a copy", () => {
    const { xen, domid, sim } = now();
    const bytes = new Uint8Array(xen.mapForeign(domid, [gfn(3)], "rw").buffer);
    sim.ram[3 * PAGE_SIZE] = 0x33;
    expect(bytes[0]).toBe(0x33);
    bytes[0] = 0x34;
    expect(sim.ram[3 * PAGE_SIZE]).toBe(0x34);
  });

  test("a thousand mappings one after another are no more than one", () => {
    const { xen, domid } = now();
    for (let i = 0; i < 1000; i += 1) {
      const mapped = xen.mapForeign(domid, [gfn(i % LOW_FRAMES)], "rw");
      new Uint8Array(mapped.buffer)[0] = i & 0xff;
      mapped.unmap();
    }
  });

  test("modified pages may be told while nobody migrates the domain", () => {
    const { xen, domid } = now();
    xen.modifiedMemory(domid, 4 as Gfn, 2);
  });

  simTest("modified pages are told for migration", () => {
    const { xen } = now();
    now().sim.logDirty(true);
    xen.modifiedMemory(now().domid, 4 as Gfn, 2);
    expect(now().sim.takeDirty()).toEqual([4, 5]);
  });
});
