// SPDX-License-Identifier: MIT
import {
  busOf,
  deviceOf,
  domId,
  evtchnPort,
  formatRange,
  formatSbdf,
  functionOf,
  gfn,
  gpa,
  ioservId,
  parseSbdf,
  sbdf,
  segmentOf,
  vcpuId,
} from "../../src/base/ids.js";

const badValue = expect.objectContaining({ code: "BAD_VALUE" });

test.each([
  ["0001:02:1f.7", 0x0001_02ff],
  ["00:05.0", 0x28],
  ["5.0", 0x28],
  ["10.0", 0x80],
  ["ffff:ff:1F.7", 0xffff_ffff],
])("parses %s as lspci writes it", (text, expected) => {
  expect(parseSbdf(text)).toBe(expected);
});

test.each(["", "5", "00:20.0", "00:05.8", "1:2:3:4.5", "g.0", "00:05.0 ", "00:05,0"])(
  "refuses %p as a PCI address",
  (text) => {
    expect(() => parseSbdf(text)).toThrow(badValue);
  },
);

test("what is formatted parses back, with its parts in place", () => {
  const at = sbdf(0xabcd, 0xef, 0x1e, 3);
  expect([segmentOf(at), busOf(at), deviceOf(at), functionOf(at)]).toEqual([0xabcd, 0xef, 0x1e, 3]);
  expect(formatSbdf(at)).toBe("abcd:ef:1e.3");
  expect(parseSbdf(formatSbdf(at))).toBe(at);
  expect(formatSbdf(parseSbdf("5.0"))).toBe("0000:00:05.0");
});

test.each([
  ["domain id", domId, 0x7fef],
  ["vCPU number", vcpuId, 127],
  ["ioreq server id", ioservId, 0xffff],
  ["guest frame number", gfn, 2 ** 40 - 1],
  ["guest-physical address", gpa, 2 ** 52 - 1],
  ["event channel port", evtchnPort, 2 ** 32 - 1],
])("a %s is checked when it is made", (what, make, last) => {
  expect(make(last)).toBe(last);
  for (const bad of [-1, last + 1, 0.5, Number.NaN]) expect(() => make(bad)).toThrow(badValue);
  expect(() => make(-1)).toThrow(what);
});

test("zero is no event channel", () => {
  expect(() => evtchnPort(0)).toThrow(badValue);
});

test("a range is printed with both its ends", () => {
  expect(formatRange(0x505, 0x505)).toBe("0x505-0x505");
  expect(formatRange(0n, 2n ** 64n - 1n)).toBe("0x0-0xffffffffffffffff");
});
