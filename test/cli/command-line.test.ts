// SPDX-License-Identifier: MIT
/** An operator's mistakes: each is refused before anything is created, with where, what was expected, and the nearest word. */

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ioreqd, withDirectory } from "../support/ioreqd.js";

test.each<[string[], string]>([
  [["rum"], "did you mean run?"],
  [["run", "--domid", "x", "-D", "edu"], "a whole number from 0 to 32751 was expected"],
  [["run", "-D", "edu"], "give --domid N"],
  [["run", "--domid", "1"], "give --device NAME"],
  [["run", "--domid", "1", "-D", "edx"], "did you mean edu?"],
  [["run", "--domid", "1", "-D", "edu,adr=00:10.0"], 'edu has no option "adr"; did you mean addr?'],
  [["run", "--domid", "1", "-D", "edu,addr=00:20.0"], "PCI device is 32; 0 to 31 is possible"],
  [
    ["run", "--domid", "1", "-D", "edu,multifunction=onn"],
    'multifunction is "onn"; did you mean on? Expected: on, off',
  ],
  [["run", "--domid", "1", "-D", "edu,addr=zero"], "write bus:device.function as lspci does"],
  [["run", "--domid", "1", "-D", "edu,delay=soon"], "a whole number from 0 to 10000 was expected"],
  [["run", "--domid", "1", "-D", "edu,delay"], '"delay" is not key=value'],
  [["run", "--domid", "1", "-D", "edu,delay=1,delay=2"], "delay is given twice"],
  [["run", "--domid", "1", "-D", "pci-serial,chardev=ptty"], "did you mean pty?"],
  [["run", "--domid", "1", "-D", "edu,romfile=/nowhere/rom"], "romfile cannot be read"],
  [["run", "--domid", "1", "-D", "./no-such-device.ts"], "there is no file"],
  [["run", "--domid", "1", "-D", "edu", "--bufioreq", "of"], "Allowed choices are off, legacy, atomic"],
  [["run", "--domid", "1", "-D", "edu", "--devise", "x"], "Did you mean --device?"],
  [["explain", "edx"], "did you mean edu?"],
  [["inspect", "7", "--state-dir", "/nowhere"], "domain 7 is not served here"],
  [["sim", "--guest", "nothing-like-this"], "nothing-like-this"],
])("ioreqd %j is refused", (args, message) => {
  const { status, stderr } = ioreqd(...args);
  expect(stderr).toContain(message);
  expect(status).not.toBe(0);
});

test("without Xen, run says which node is missing and what to do", () =>
  withDirectory((directory) => {
    const { status, stderr } = ioreqd("run", "--domid", "1", "-D", "edu", "--state-dir", directory);
    expect(stderr).toMatch(/\/dev\/xen\/privcmd.*modprobe/s);
    expect(status).toBe(1);
    expect(existsSync(join(directory, "1"))).toBe(false);
  }));

test.each<[string, unknown, string]>([
  ["an unknown key", { domid: 1, devises: [] }, 'the top level has no key "devises"; did you mean devices?'],
  ["a wrong value", { bufioreq: "atomik" }, 'bufioreq is "atomik"; did you mean atomic?'],
  ["a wrong type", { domid: "one" }, 'domid is "one"'],
  ["an unknown key of a device", { devices: [{ device: "edu", adr: "x" }] }, 'has no key "adr"; did you mean addr?'],
  ["an unknown key further in", { polling: { windw: 1 } }, 'polling has no key "windw"; did you mean window?'],
  ["an unknown device", { domid: 1, devices: ["edx"] }, "devices[0]: there is no device"],
  ["two devices in one slot", { domid: 1, devices: ["edu,addr=10.0", "counter,addr=10.0"] }, "where edu is already"],
])("a config file with %s is refused", (_name, config, message) =>
  withDirectory((directory) => {
    const file = join(directory, "ioreqd.json");
    writeFileSync(file, JSON.stringify(config));
    const { status, stderr } = ioreqd("run", "--config", file, "--state-dir", directory, "--domid", "1");
    // A tree that makes no sense is found after the libraries are, so it may be either's message without Xen.
    expect(stderr).toMatch(
      message.includes("already") ? /already|\/dev\/xen/ : new RegExp(message.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")),
    );
    expect(status).toBe(1);
    expect(existsSync(join(directory, "1"))).toBe(false);
  }),
);

test("a config file that is no JSON is refused with the place", () =>
  withDirectory((directory) => {
    const file = join(directory, "ioreqd.json");
    writeFileSync(file, "{ devices: }");
    expect(ioreqd("run", "--config", file).stderr).toContain("is not JSON");
  }));

test("devices lists every device with its id", () => {
  expect(ioreqd("devices").stdout).toMatch(/edu\s+1234:11e8/);
});

test("explain prints the table the code uses", () => {
  const { stdout } = ioreqd("explain", "edu");
  expect(stdout).toMatch(/0x0\s+ID\s+4\s+0x10000ed/);
  expect(stdout).toMatch(/delay=/);
});

test("explain refuses a table that could not be served", () =>
  withDirectory((directory) => {
    const file = join(directory, "wrong.js");
    const bars = "{ 0: { space: 'mem32', size: 16, regs: { A: { at: 0 }, B: { at: 2 } } } }";
    writeFileSync(
      file,
      `module.exports = { name: "wrong", ident: { vendor: 1, device: 1, classCode: 0 }, bars: ${bars} };`,
    );
    const { status, stderr } = ioreqd("explain", file);
    expect(stderr).toContain("registers A and B overlap at 0x2");
    expect(status).toBe(1);
  }));

test("the exit code tells a wrong command line (2) from a failure (1)", () => {
  expect(ioreqd("run", "--bogus").status).toBe(2);
  expect(ioreqd("bogus").status).toBe(2);
  expect(ioreqd("explain", "edx").status).toBe(1);
  expect(ioreqd("--help").status).toBe(0);
});

test("doctor tells each lack with its fix", () => {
  const { stdout, status } = ioreqd("doctor");
  expect(stdout).toMatch(/LACK {2}\/dev\/xen\/evtchn/);
  expect(stdout).toContain("modprobe xen-evtchn");
  expect(status).toBe(1);
});
