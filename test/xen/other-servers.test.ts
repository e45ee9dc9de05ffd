// SPDX-License-Identifier: MIT
/** Functions that another ioreq server of the domain has, as Xen can be asked for them. */

import { type IoservId, type Sbdf, sbdf } from "../../src/base/ids.js";
import { refuseTaken } from "../../src/ioreq/other-servers.js";
import { coded, describeOnXen, simTest } from "./fixture.js";

const FUNCTIONS = [0, 1].map((fn) => sbdf(0, 0, 0x1e, fn)) as [Sbdf, Sbdf];
const [FIRST, SECOND] = FUNCTIONS;

describeOnXen("functions of other servers", (now) => {
  test("one that another server has is refused, be that older or newer, enabled or not", () => {
    const { xen, domid } = now();
    const create = (): IoservId => xen.createIoreqServer(domid, "off");
    const [older, own, newer] = [create(), create(), create()];
    const ask = (): void => refuseTaken(xen, domid, own, FUNCTIONS);
    ask();
    for (const other of [older, newer]) {
      xen.mapPciDevice(domid, other, SECOND);
      expect(ask).toThrow(
        coded("SLOT_TAKEN", `0000:00:1e.1 is taken: ioreq server ${other} of domain ${domid} has that function`),
      );
      xen.setIoreqServerState(domid, other, true);
      expect(ask).toThrow(coded("SLOT_TAKEN"));
      xen.unmapPciDevice(domid, other, SECOND);
      ask();
    }
  });

  test("one's own is not taken, and after the question every server has what it had", () => {
    const { xen, domid } = now();
    const own = xen.createIoreqServer(domid, "off");
    const other = xen.createIoreqServer(domid, "off");
    xen.mapPciDevice(domid, own, FIRST);
    refuseTaken(xen, domid, own, FUNCTIONS);
    xen.mapPciDevice(domid, other, SECOND);
    expect(() => xen.unmapPciDevice(domid, other, FIRST)).toThrow(coded("XEN_CALL_FAILED", "ENOENT"));
    expect(() => xen.mapPciDevice(domid, own, FIRST)).toThrow(coded("XEN_RANGE_TAKEN"));
  });

  simTest("a server that Xen gives no more functions does not have it", () => {
    const { xen, domid } = now();
    const own = xen.createIoreqServer(domid, "off");
    const full = xen.createIoreqServer(domid, "off");
    for (let i = 0; i < 256; i += 1) xen.mapPciDevice(domid, full, sbdf(0, 1 + (i >>> 4), (i & 15) * 2, 0));
    expect(() => xen.mapPciDevice(domid, full, FIRST)).toThrow(coded("XEN_CALL_FAILED", "ENOMEM"));
    refuseTaken(xen, domid, own, FUNCTIONS);
  });
});
