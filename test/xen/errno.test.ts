// SPDX-License-Identifier: MIT

import { constants as osConstants } from "node:os";
import type { DomId, IoservId, Sbdf } from "../../src/base/ids.js";
import { callFailed, EVTCHN, errnoName, openFailed, PRIVCMD } from "../../src/xen/errno.js";
import { openAdapter } from "../../src/xen/ffi/index.js";
import type { FfiAdapter, LibraryTable } from "../../src/xen/ffi/table.js";
import { NativeXen } from "../../src/xen/native.js";

const E = osConstants.errno;
const ports = { domid: 7, server: 1, ports: "0x505-0x505" };

beforeEach(() => {
  delete process.env["XENSIM_SOCKET"];
});

test("the message says what was tried, on what, what came back, and why", () => {
  const error = callFailed(E.EPERM, "map_io_range_to_ioreq_server", ports);
  expect(error.message).toMatch(
    /^map_io_range_to_ioreq_server\(domid 7, server 1, ports 0x505-0x505\): EPERM \(does this host control that domain\?/,
  );
  expect(error).toMatchObject({
    name: "IoreqdError",
    code: "XEN_CALL_FAILED",
    details: { call: "map_io_range_to_ioreq_server", domid: 7, server: 1, ports: "0x505-0x505", errno: "EPERM" },
  });
});

test.each([
  ["destroy_ioreq_server", E.ESRCH, "XEN_DOMAIN_GONE", "no such domain"],
  ["bind_interdomain", E.ESRCH, "XEN_DOMAIN_GONE", "no such domain"],
  ["map_resource", E.ESRCH, "XEN_DOMAIN_GONE", "no such domain"],
  ["map_io_range_to_ioreq_server", E.EEXIST, "XEN_RANGE_TAKEN", "has part of that range"],
  ["map_pcidev_to_ioreq_server", E.EEXIST, "XEN_RANGE_TAKEN", "has that function"],
  ["bind_interdomain", E.EINVAL, "XEN_PORT_TAKEN", "another process serves this domain"],
  ["create_ioreq_server", E.ENOSPC, "XEN_CALL_FAILED", "8 ioreq servers"],
  ["create_ioreq_server", E.EINVAL, "XEN_CALL_FAILED", "--bufioreq off"],
  ["unmap_io_range_from_ioreq_server", E.ENOENT, "XEN_CALL_FAILED", "no such range"],
  ["set_ioreq_server_state", E.ENOENT, "XEN_CALL_FAILED", "no such ioreq server"],
  ["notify", E.ENOTCONN, "XEN_CALL_FAILED", "not bound that port"],
  ["inject_msi", E.EOPNOTSUPP, "XEN_CALL_FAILED", "no such thing"],
  ["map_mmcfg_to_ioreq_server", E.ENOSYS, "XEN_CALL_FAILED", "only the simulated Xen"],
  ["map_mmcfg_to_ioreq_server", E.EEXIST, "XEN_RANGE_TAKEN", "another server has told"],
  ["set_irq_level", E.ENOSYS, "XEN_CALL_FAILED", "too old"],
])("%s with errno %i is %s", (call, errno, code, words) => {
  const error = callFailed(errno, call, { domid: 7 });
  expect(error.code).toBe(code);
  expect(error.message).toContain(words);
});

test("errnos have the name Xen uses, and a number that has none is still printed", () => {
  expect([E.EAGAIN, E.EOPNOTSUPP, E.ESRCH, 85].map(errnoName)).toEqual(["EAGAIN", "EOPNOTSUPP", "ESRCH", "ERESTART"]);
  expect(errnoName(4095)).toBe("errno 4095");
  expect(callFailed(4095, "notify", { port: 3 }).message).toBe("notify(port 3): errno 4095");
});

test("a missing node is named, with the module that makes it", () => {
  const error = openFailed(E.ENOENT, "xenevtchn_open", EVTCHN);
  expect(error.code).toBe("XEN_OPEN_FAILED");
  expect(error.message).toMatch(/xenevtchn_open: \/dev\/xen\/evtchn: ENOENT .*modprobe xen-evtchn.*ioreqd doctor/);
  expect(openFailed(E.EACCES, "xendevicemodel_open", PRIVCMD).message).toMatch(
    /\/dev\/xen\/privcmd: EACCES .*run as root/,
  );
});

test("with XENSIM_SOCKET set it speaks of the simulated host instead", () => {
  process.env["XENSIM_SOCKET"] = "/tmp/sim.sock";
  const error = openFailed(E.ECONNREFUSED, "xenevtchn_open", EVTCHN);
  expect(error.message).toContain("/tmp/sim.sock");
  expect(error.message).not.toContain("/dev/xen");
  expect(error.details).toMatchObject({ socket: "/tmp/sim.sock", errno: "ECONNREFUSED" });
});

test("errno is read before what is said about the call is worked out, which may leave another", () => {
  let errno = 0;
  const failing = (): number => {
    errno = E.ENOENT;
    return -1;
  };
  const adapter = {
    ...openAdapter(),
    errno: () => errno,
    bind: ({ functions }: LibraryTable) => Object.fromEntries(Object.keys(functions).map((name) => [name, failing])),
  } as unknown as FfiAdapter;
  const looked = {
    valueOf: () => {
      errno = E.EAGAIN;
      return 0x80;
    },
  };
  const xen = new NativeXen(adapter);
  expect(() => xen.mapPciDevice(1 as DomId, 0 as IoservId, looked as unknown as Sbdf)).toThrow(/: ENOENT/);
});
