// SPDX-License-Identifier: MIT
/** QEMU's command line with ours in it. */

import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseDeviceSpec, resolveDevices } from "../../src/launch/device-spec.js";
import { findQemu, readDmArguments, refuseSlotsOfQemu } from "../../src/launch/dm-arguments.js";
import { withDirectory } from "../support/ioreqd.js";

const fromLibxl = [
  ...[
    "-xen-domid",
    "5",
    "-no-shutdown",
    "-chardev",
    "socket,id=libxl-cmd,path=/run/xen/qmp-libxl-5,server=on,wait=off",
  ],
  ...["-nodefaults", "-name", "guest", "-device", "virtio-blk-pci,drive=gd,addr=0x8,bootindex=0"],
  ...["-ioreqd", "edu,addr=10.0", "-m", "152", "-ioreqd", "counter"],
];

test("the domain and our devices are found among QEMU's arguments", () => {
  expect(readDmArguments(fromLibxl)).toMatchObject({ domid: 5, devices: ["edu,addr=10.0", "counter"] });
});

test("the probe run of libxl 4.20 names no domain", () => {
  const probe = ["-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=xen"];
  expect(readDmArguments(probe)).toMatchObject({ domid: null, devices: [] });
});

test.each<[string[], string]>([
  [["-ioreqd"], "-ioreqd needs a device after it"],
  [["-ioreqd", "-m"], "-ioreqd needs a device after it"],
  [["--ioreqd", "edu"], "did you mean -ioreqd?"],
  [["-ioreq", "edu"], "did you mean -ioreqd?"],
  [["-ioreqd", "./dice.ts,addr=11.0"], "is a relative path"],
  [["-ioreqd", "devices/dice.ts"], "is a relative path"],
])("%j is refused", (argv, message) => {
  expect(() => readDmArguments(argv)).toThrow(message);
});

test.each<[string, string]>([
  ["edu,addr=8.0", "virtio-blk-pci"],
  ["edu,addr=1.0", "the PIIX3"],
  ["edu,addr=0.0", "the host bridge"],
])("%s is refused, for QEMU has that slot", (device, owner) => {
  const requests = resolveDevices([parseDeviceSpec(device)]);
  expect(() => refuseSlotsOfQemu(requests, readDmArguments(fromLibxl).slots)).toThrow(owner);
});

test("a slot behind a bridge of QEMU's is no slot of bus 0", () => {
  const { slots } = readDmArguments(["-device", "e1000,bus=bridge,addr=0x10", "-device", "nvme,addr=11.0,bus=pci.0"]);
  expect([...slots.keys()]).toEqual([0x11]);
});

test("the first QEMU that can be run is taken, or the one that is configured", () =>
  withDirectory((directory) => {
    const [plain, program] = [join(directory, "plain"), join(directory, "qemu")];
    writeFileSync(plain, "");
    writeFileSync(program, "");
    chmodSync(program, 0o755);
    expect(findQemu(undefined, [plain, program])).toBe(program);
    expect(findQemu(program)).toBe(program);
    expect(() => findQemu(plain)).toThrow('name it as "qemu" in ioreqd.conf');
  }));

test("a slot behind a bridge is not one of QEMU's, whatever its number", () => {
  const device = resolveDevices(
    ["pci-bridge,id=b,addr=18.0", "edu,bus=b,addr=00.0"].map((text) => parseDeviceSpec(text)),
  );
  expect(() => refuseSlotsOfQemu(device, new Map([[0, "something"]]))).not.toThrow();
});
