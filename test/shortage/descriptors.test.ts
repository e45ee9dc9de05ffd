// SPDX-License-Identifier: MIT
/** A process that gets no further descriptor: a real limit, set while it runs (prlimit). */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { control } from "../../src/control/client.js";
import { SimHost } from "../../src/sim/host.js";
import { cpuTime } from "../soak/measure.js";
import { PROGRAM, withDirectory } from "../support/ioreqd.js";
import { GuestThatWorks } from "./guest-that-works.js";
import { withoutDescriptors } from "./limits.js";

/** How long a process that has nothing to do is looked at, in ms, and the processor time that it may take. */
const IDLE_MS = 1000;
const IDLE_CPU_MS = 400;

interface Started {
  readonly code: number | NodeJS.Signals | null;
  readonly said: string;
  readonly left: readonly string[];
}

/** Start with a limit of so many descriptors; once it serves it is told to end. */
function startWith(limit: number, host: SimHost): Promise<Started> {
  return withDirectory(async (directory) => {
    const argv = [
      PROGRAM,
      "run",
      "--domid",
      "1",
      "--state-dir",
      directory,
      "-D",
      `pci-serial,chardev=unix:${directory}/line`,
    ];
    const shell = ["-c", `ulimit -n ${limit}; exec "$@"`, "sh", process.execPath];
    const child = spawn("sh", [...shell, ...argv], { env: { ...process.env, ...host.environment() } });
    let said = "";
    child.stderr.on("data", (text) => {
      said += String(text);
      if (said.includes('"ready"')) child.kill("SIGTERM");
    });
    const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    return { code: code ?? signal, said, left: readdirSync(directory) };
  });
}

test("with too few of them to start the error says so in one line, and nothing is left behind", async () => {
  const host = new SimHost();
  const errors: Started[] = [];
  for (let limit = 16; ; limit += 1) {
    const started = await startWith(limit, host);
    if (started.code === 0) break;
    // With fewer, Node.js itself does not come as far as the program.
    if (started.said.startsWith("ioreqd: ")) errors.push(started);
  }
  expect(errors.length).toBeGreaterThan(3);
  for (const error of errors) {
    expect(error).toEqual({
      code: 1,
      said: expect.stringMatching(/^ioreqd: [A-Z_]+: .*(EMFILE|Too many open files).*\n$/) as string,
      left: [],
    });
  }
  expect(host.counters()).toMatchObject({ servers: 0, ranges: 0 });
  host.close();
}, 60_000);

async function connected(path: string): Promise<Socket> {
  const socket = createConnection(path);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

async function idles(pid: number): Promise<void> {
  const before = cpuTime(pid) ?? 0;
  await setTimeout(IDLE_MS);
  expect((cpuTime(pid) ?? 0) - before).toBeLessThan(IDLE_CPU_MS);
}

test("the guest is served without, who connects hears why not or waits, and all goes on when there are some again", () =>
  GuestThatWorks.serve(
    { devices: (directory) => [`pci-serial,addr=11.0,chardev=unix:${join(directory, "serial")}`] },
    async (guest) => {
      const restore = withoutDescriptors(guest.pid);
      const serial = await connected(join(guest.directory, "serial"));
      const asked = control(guest.control, "ping", {}, 2000);
      await expect(asked).rejects.toMatchObject({ code: "CONTROL_UNREACHABLE" });
      await guest.works();
      await idles(guest.pid);
      restore();
      await control(guest.control, "ping");
      await guest.works();
      await guest.says(/"client connected"/);
      serial.destroy();
      expect(guest.said).toMatch(/"client not accepted"/);
      expect(guest.said.length).toBeLessThan(100_000);
      expect(await guest.end()).toBe(0);
    },
  ));

test("a device that needs one is refused, with the errno, and can be added later; nothing of it is left in between", () =>
  GuestThatWorks.serve({}, async (guest) => {
    const add = (): Promise<unknown> =>
      control(guest.control, "device.add", { spec: "pci-serial,addr=11.0,id=line,chardev=pty" });
    // A connection that is there already: a new one would not be.
    const socket = await connected(guest.control);
    await control(guest.control, "ping");
    const restore = withoutDescriptors(guest.pid);
    socket.write(
      `${JSON.stringify({ id: 1, command: "device.add", arguments: { spec: "pci-serial,chardev=pty" } })}\n`,
    );
    const [reply] = (await once(socket, "data")) as [Buffer];
    expect(JSON.parse(String(reply))).toMatchObject({
      error: { code: "CHARDEV_FAILED", message: expect.stringMatching(/EMFILE/) as string },
    });
    await guest.works();
    restore();
    socket.destroy();
    const { devices } = (await control(guest.control, "device.list")) as { devices: unknown[] };
    expect(devices).toHaveLength(1);
    await add();
    await guest.works();
    expect(await guest.end()).toBe(0);
  }));
