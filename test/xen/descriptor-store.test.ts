// SPDX-License-Identifier: MIT
import { closeSync, fstatSync, openSync } from "node:fs";
import { join } from "node:path";
import { DescriptorStore, storeName } from "../../src/xen/descriptor-store.js";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { SdNotify } from "../../src/xen/sd-notify.js";
import { withDirectory } from "../support/ioreqd.js";
import { Supervisor } from "../support/supervisor.js";

const ffi = openAdapter();

test("a descriptor is kept under its name, as the same file, until it is forgotten", () =>
  withDirectory((directory) => {
    const supervisor = new Supervisor(join(directory, "notify"));
    const notify = SdNotify.open(ffi, { NOTIFY_SOCKET: join(directory, "notify") });
    const store = new DescriptorStore(notify, {});
    const fd = openSync(join(directory, "file"), "w");
    expect(store.keep("a/b", fd)).toBe(0);
    supervisor.receive();
    expect(supervisor.told).toEqual(["FDSTORE=1\nFDNAME=a/b\nFDPOLL=0"]);
    expect(fstatSync(supervisor.kept.get("a/b") as number).ino).toBe(fstatSync(fd).ino);
    closeSync(fd);
    store.forget("never kept");
    store.forgetAll();
    supervisor.receive();
    expect(supervisor.told.slice(1)).toEqual(["FDSTOREREMOVE=1\nFDNAME=a/b"]);
    notify?.close();
    supervisor.close();
  }));

test("what was given is taken once, by name, and what nobody took is let go at an orderly end", () => {
  const told: object[] = [];
  const supervisor = {
    send: (notification: object) => told.push(notification),
    sendDescriptor: () => 0,
  };
  const store = new DescriptorStore(supervisor, {
    LISTEN_PID: String(process.pid),
    LISTEN_FDS: "1",
    LISTEN_FDNAMES: "a:beyond the count",
  });
  expect([store.take("a"), store.take("a"), store.take("beyond the count")]).toEqual([3, null, null]);
  store.forgetAll();
  expect(told).toEqual([{ FDSTOREREMOVE: 1, FDNAME: "a" }]);
});

test("a process that leaves to another forgets nothing", () => {
  const told: object[] = [];
  const supervisor = { send: (notification: object) => told.push(notification), sendDescriptor: () => 0 };
  const store = new DescriptorStore(supervisor, {});
  store.keep("a", 0);
  store.leave();
  store.forget("a");
  store.forgetAll();
  expect(told).toEqual([]);
});

test("what was meant for another process is not taken", () => {
  const given = { LISTEN_PID: "1", LISTEN_FDS: "1", LISTEN_FDNAMES: "a" };
  expect(new DescriptorStore(null, given).take("a")).toBeNull();
});

test("without a supervisor nothing is kept, and that is no error", () => {
  expect(new DescriptorStore(null, {}).keep("a", 0)).toBe(0);
});

test("a name has nothing that separates names", () => {
  expect(storeName("0000:00:1c.0/00.0", "chardev", "master")).toBe("0000%3A00%3A1c.0%2F00.0/chardev/master");
});
