// SPDX-License-Identifier: MIT
/** Event channels over each adapter, on the simulated host or a real Xen. */

import type { EvtchnPort } from "../../src/base/ids.js";
import { DIR_READ, IOREQ, STATE, STATE_MASK, WORD } from "../../src/spec/xen-ioreq.js";
import type { EventPoller } from "../../src/xen/host.js";
import { coded, describeOnXen, simTest } from "./fixture.js";

describeOnXen("XenHost, event channels", (now) => {
  simTest("a guest's access raises an event, and the published reply reaches it", async () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "off");
    const { ioreq } = xen.mapIoreqPages(domid, id, { ring: false, vcpus: 2 });
    xen.mapIoRange(domid, id, "pio", 0x505, 0x505);
    xen.setIoreqServerState(domid, id, true);
    const words = new Uint32Array(ioreq);
    const bytes = new Uint8Array(ioreq);
    const channels = xen.openEventChannels();
    const bound = [0, 1].map((vcpu) =>
      channels.bindInterdomain(domid, words[vcpu * WORD.perSlot + WORD.evtchn] as EvtchnPort),
    );
    const publish = channels.publisher(ioreq);
    const served: number[] = [];
    const poller = channels.poll(
      () => {
        for (const port of poller.ports.subarray(0, poller.drain())) {
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
    now().sim.unpause();
    expect(await Promise.all([now().inPort(0, 0x505, 1), now().inPort(1, 0x505, 1)])).toEqual([0x60, 0x61]);
    expect(await now().inPort(1, 0x505, 1)).toBe(0x61);
    expect(served.sort()).toEqual([0, 1, 1]);
    expect(now().sim.crashReason).toBeNull();
    poller.stop();
    channels.close();
    expect(publish(0, bound[0] as EvtchnPort)).toBe(9 /* EBADF */);
  });

  test("a second process cannot bind what the first one holds, until it lets go", () => {
    const { xen, domid } = now();
    const id = xen.createIoreqServer(domid, "atomic");
    const remote = xen.bufioreqPort(domid, id) as EvtchnPort;
    const first = xen.openEventChannels();
    const second = xen.openEventChannels();
    const port = first.bindInterdomain(domid, remote);
    expect(() => second.bindInterdomain(domid, remote)).toThrow(
      coded("XEN_PORT_TAKEN", "another process serves this domain"),
    );
    first.notify(port);
    first.unbind(port);
    expect(() => first.notify(port)).toThrow(
      coded("XEN_CALL_FAILED", "ENOTCONN (this process has not bound that port)"),
    );
    expect(second.bindInterdomain(domid, remote)).toBeGreaterThan(0);
  });

  test("binding raises an event, for whoever bound too late to hear the first", () => {
    const { xen, domid } = now();
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

  simTest("the end of the simulated host is told once, and the poller has stopped", async () => {
    const { xen, sim } = now();
    const failures: Error[] = [];
    const channels = xen.openEventChannels();
    const poller = await new Promise<EventPoller>((resolve) => {
      const made = channels.poll(
        () => made.drain(),
        (error) => {
          failures.push(error);
          resolve(made);
        },
      );
      sim.stop();
    });
    expect(poller.sleep(10)).toBe(false);
    expect(failures).toEqual([coded("XEN_EVENTS_LOST", "EPIPE (the simulated host has ended)")]);
    expect(poller.drain()).toBe(0);
    poller.stop();
  });
});
