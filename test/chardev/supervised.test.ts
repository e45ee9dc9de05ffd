// SPDX-License-Identifier: MIT
/** What a process that serves a guest has its supervisor keep, and when that may let go. */

import { join } from "node:path";
import { withDirectory } from "../support/ioreqd.js";
import { end, IDLE, whileServed } from "../support/running.js";
import { Supervisor } from "../support/supervisor.js";
import { until } from "./fixture.js";

test("terminals and sockets are kept while their device is there, and for the process that comes next", () =>
  withDirectory(async (directory) => {
    const supervisor = new Supervisor(join(directory, "notify"));
    const names = (): string[] => {
      supervisor.receive();
      return [...supervisor.kept.keys()].sort();
    };
    const before = process.env["NOTIFY_SOCKET"];
    process.env["NOTIFY_SOCKET"] = join(directory, "notify");
    const terminals = ["0000%3A00%3A10.0/chardev/master", "0000%3A00%3A10.0/chardev/terminal"];
    try {
      const result = await whileServed(IDLE, ["-D", "pci-serial,chardev=pty"], async (running) => {
        await running.step("up");
        expect(names()).toEqual(terminals);
        await running.ask("device.add", { spec: `pci-serial,addr=00:11.0,chardev=unix:${running.path("line")}` });
        expect(names()).toEqual([...terminals, "0000%3A00%3A11.0/chardev/listener"]);
        await running.ask("device.remove", { addr: "00:11.0" });
        await until(() => names().length === terminals.length);
        await end(running);
      });
      expect(result).toMatchObject({ ok: true, problems: [] });
    } finally {
      if (before === undefined) delete process.env["NOTIFY_SOCKET"];
      else process.env["NOTIFY_SOCKET"] = before;
    }
    // SIGTERM of a supervisor means that another process may come.
    expect(names()).toEqual(terminals);
    supervisor.close();
  }));
