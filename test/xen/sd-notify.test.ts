// SPDX-License-Identifier: MIT
/** What a supervisor hears, through a real datagram socket. */

import { join } from "node:path";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { SdNotify, watchdogPeriod } from "../../src/xen/sd-notify.js";
import { withDirectory } from "../support/ioreqd.js";
import { listen } from "../support/notify-socket.js";

const ffi = openAdapter();
const open = (path: string): SdNotify => SdNotify.open(ffi, { NOTIFY_SOCKET: path }) as SdNotify;

test("a supervisor hears what it is told, a line for each", () =>
  withDirectory((directory) => {
    const supervisor = listen(join(directory, "notify"));
    const notify = open(join(directory, "notify"));
    expect(notify.send({ READY: 1, STATUS: "two\nlines" })).toBe(0);
    expect(supervisor.receive()).toBe("READY=1\nSTATUS=two lines");
    notify.close();
    supervisor.close();
  }));

test("a socket in the abstract namespace is found", () => {
  const path = `@ioreqd-test-${process.pid}`;
  const supervisor = listen(path);
  const notify = open(path);
  expect(notify.send({ WATCHDOG: 1 })).toBe(0);
  expect(supervisor.receive()).toBe("WATCHDOG=1");
  notify.close();
  supervisor.close();
});

test("without a supervisor there is nobody to tell; one that is not there is an error", () => {
  expect(SdNotify.open(ffi, {})).toBeNull();
  expect(() => open("/nowhere/notify")).toThrow("connect(path /nowhere/notify): ENOENT");
});

test("a supervisor that ended is reported to the caller, and nothing else happens", () =>
  withDirectory((directory) => {
    const supervisor = listen(join(directory, "notify"));
    const notify = open(join(directory, "notify"));
    supervisor.close();
    expect(notify.send({ WATCHDOG: 1 })).not.toBe(0);
    notify.close();
  }));

test("a supervisor that stands still does not block us", () =>
  withDirectory((directory) => {
    const supervisor = listen(join(directory, "notify"));
    const notify = open(join(directory, "notify"));
    let sent = 0;
    while (notify.send({ WATCHDOG: 1 }) === 0 && sent < 100_000) sent += 1;
    expect(sent).toBeLessThan(100_000);
    notify.close();
    supervisor.close();
  }));

test("the watchdog's period is the supervisor's, when it is meant for this process", () => {
  expect(watchdogPeriod({})).toBeNull();
  expect(watchdogPeriod({ WATCHDOG_USEC: "3000000" })).toBe(3000);
  expect(watchdogPeriod({ WATCHDOG_USEC: "3000000", WATCHDOG_PID: String(process.pid) })).toBe(3000);
  expect(watchdogPeriod({ WATCHDOG_USEC: "3000000", WATCHDOG_PID: "1" })).toBeNull();
  expect(watchdogPeriod({ WATCHDOG_USEC: "x" })).toBeNull();
});
