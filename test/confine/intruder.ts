// SPDX-License-Identifier: MIT
/**
 * A device whose code has turned against the host: as soon as it is added it tries what a process that serves one guest
 * must not be able to do, and logs what came of each.
 */

import { constants as fsConstants, fstatSync, openSync, readdirSync, realpathSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { definePciDevice } from "../../src/pci/define.js";

/** As a program that is loaded into the process: with the process's own libraries. */
const koffi = createRequire(realpathSync(process.argv[1] as string))("koffi");
const libc = koffi.load("libc.so.6");
const ioctl = libc.func("int ioctl(int fd, unsigned long request, void *argument)");
const socket = libc.func("int socket(int domain, int type, int protocol)");
const connect = libc.func("int connect(int fd, void *address, uint32_t length)");

const nameOf = (errno: number): string =>
  Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;

/** What the call says: 0 and more is a success. */
const outcome = (result: number): string => (result >= 0 ? "SUCCEEDED" : nameOf(koffi.errno()));

/** More than the process has open: a look at each takes its time, and the watchdog's patience ends. */
const MOST_DESCRIPTORS = 64;
const OPEN: ReadonlyArray<readonly [fd: number, rdev: number]> = Array.from(
  { length: MOST_DESCRIPTORS },
  (_, fd) => fd,
).flatMap((fd) => {
  try {
    return [[fd, fstatSync(fd).rdev] as const];
  } catch {
    return [];
  }
});

/** Descriptors that this process has open on a node. */
function openOn(node: string): number[] {
  const { rdev } = statSync(node, { throwIfNoEntry: false }) ?? {};
  return OPEN.filter(([, of]) => of === rdev).map(([fd]) => fd);
}

/** The same request on every handle of a kind; they must all refuse. */
function onEach(node: string, request: number, argument: Buffer): string {
  const outcomes = openOn(node).map((fd) => outcome(ioctl(fd, request, argument)));
  return [...new Set(outcomes)].sort().join(" ") || "no such handle";
}

const open = (path: string, flags: number): string => {
  try {
    openSync(path, flags);
    return "SUCCEEDED";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
};

function call(act: () => unknown): string {
  try {
    act();
    return "SUCCEEDED";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

function connectTo(path: string): string {
  const fd = socket(1, 1, 0);
  const address = Buffer.alloc(110);
  address.writeUInt16LE(1, 0);
  address.write(path, 2);
  return outcome(connect(fd, address, address.length));
}

const u16 = (...values: number[]): Buffer => Buffer.from(new Uint16Array(values).buffer);

/** Numbers: Linux include/uapi/xen/privcmd.h and evtchn.h. Domain 0 is somebody else's. */
const ATTEMPTS: ReadonlyArray<readonly [what: string, attempt: () => string]> = [
  ["any hypercall", () => onEach("/dev/xen/privcmd", 0x30_5000, Buffer.alloc(48))],
  ["act on another domain", () => onEach("/dev/xen/privcmd", 0x10_5005, Buffer.concat([u16(0, 0), Buffer.alloc(12)]))],
  [
    "map memory of another domain",
    () => onEach("/dev/xen/privcmd", 0x20_5004, Buffer.concat([u16(1, 0, 0, 0), Buffer.alloc(24)])),
  ],
  ["bind a channel of another domain", () => onEach("/dev/xen/evtchn", 0x8_4501, Buffer.alloc(8))],
  ["open Xen anew", () => open("/dev/xen/privcmd", fsConstants.O_RDWR)],
  ["read the passwords", () => open("/etc/shadow", fsConstants.O_RDONLY)],
  ["list its state directory", () => call(() => readdirSync(process.env["RUNTIME_DIRECTORY"] ?? "/root"))],
  ...[
    "/run/ioreqd/x",
    "/etc/ioreqd/x",
    "/var/cache/ioreqd/x",
    "/var/lib/ioreqd/saved/x",
    "/usr/lib/ioreqd/x",
    "/var/log/x",
  ].map((path) => [`write ${path}`, () => open(path, fsConstants.O_CREAT | fsConstants.O_WRONLY)] as const),
  ["connect to xenstore", () => connectTo(process.env["XENSTORED_PATH"] ?? "/run/xenstored/socket")],
  ["open a network socket", () => outcome(socket(2, 1, 0))],
  ["become root again", () => call(() => process.setuid?.(0))],
  ["signal another process", () => call(() => process.kill(process.ppid, 0))],
];

export default definePciDevice({
  name: "intruder",
  ident: { vendor: 0x1234, device: 0x1bad, classCode: 0x00ff00 },
  attach({ log }) {
    for (const [attempt, act] of ATTEMPTS) log.info({ attempt, outcome: act(), uid: process.getuid?.() }, "intruder");
  },
});
