// SPDX-License-Identifier: MIT
/** Devices that come to a running guest, and go, as its operator and as the guest see it. */

import { constants, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { ReadStream } from "node:tty";
import { Arena } from "../../src/state/arena.js";
import { guestProgram, serve, withDirectory } from "../support/ioreqd.js";
import { end, IDLE, type Running, whileServed } from "../support/running.js";

const clean = { ok: true, problems: [], leftovers: { servers: 0, clients: 0, mappedPages: 0 } };

/** Which places are whose, in the state file. */
const layoutOf = ({ stateDir }: Running): string =>
  Arena.open(new Uint8Array(readFileSync(join(stateDir, "1", "state"))).buffer).layout();

test("a device that is added is found and used by the guest, and reads as all-ones once it is removed", async () => {
  const result = await whileServed(
    guestProgram(`
      place(vcpu);
      vcpu.read(MEMORY, 4);
      vcpu.step("waiting");
      while (vcpu.configRead("00:11.0", 0, 4) === 0xffffffff);
      must(vcpu.configRead("00:11.0", 0, 4) === 0x11e81234, "edu");
      place(vcpu, "00:11.0", 0xf8000000, 0xd000);
      must(vcpu.read(0xf8000000, 4) === 0x010000ed, "its id");
      vcpu.write(0xf8000000 + 8, 4, 5);
      while (vcpu.read(0xf8000000 + 0x20, 4) & 1);
      must(vcpu.read(0xf8000000 + 8, 4) === 120, "5!");
      vcpu.write(0xf8000000 + 0x60, 4, 1);
      must(vcpu.waitGsi(vcpu.gsiOf(0x11, 0)), "an interrupt");
      vcpu.step("used");
      while (vcpu.read(0xf8000000, 4) !== 0xffffffff);
      must(vcpu.configRead("00:11.0", 0, 4) === 0xffffffff, "it has gone");
      must(vcpu.waitGsi(vcpu.gsiOf(0x11, 0), false), "its line is down");
      must(vcpu.read(MEMORY, 4) === 1, "the other device goes on");
    `),
    ["-D", "counter"],
    async (running) => {
      await running.step("waiting");
      expect(await running.device("add", ["edu,addr=00:11.0,id=extra,delay=0"], { guest: "guest" })).toEqual({
        status: 0,
        stdout: "0000:00:11.0 edu (extra) added to domain 1\n",
        stderr: "",
      });
      await running.step("used");
      expect((await running.device("list", [])).stdout).toBe(
        "0000:00:10.0    counter\n0000:00:11.0    edu      extra\n",
      );
      expect(JSON.parse((await running.device("list", ["--json"])).stdout)).toEqual({
        devices: [
          { path: "0000:00:10.0", addr: "0000:00:10.0", device: "counter", id: null, quarantined: false, chardevs: [] },
          { path: "0000:00:11.0", addr: "0000:00:11.0", device: "edu", id: "extra", quarantined: false, chardevs: [] },
        ],
      });
      expect((await running.device("remove", ["extra"])).stdout).toBe(
        "0000:00:11.0 edu (extra) removed from domain 1\n",
      );
    },
  );
  expect(result).toMatchObject(clean);
});

test("in a port's slot the guest finds a device by itself, and is asked before it is taken away", async () => {
  const result = await whileServed(
    guestProgram(`
      const PORT = "00:1c.0", CONTROL = 0x18, STATUS = 0x1a;
      vcpu.configWrite(PORT, 0x18, 4, 0x00010100);
      vcpu.configWrite(PORT, 4, 2, 7);
      let at = vcpu.configRead(PORT, 0x34, 1);
      while (vcpu.configRead(PORT, at, 1) !== 0x10) at = vcpu.configRead(PORT, at + 1, 1);
      const status = () => vcpu.configRead(PORT, at + STATUS, 2);
      vcpu.step("waiting");
      while (!(status() & 0x08));
      must(vcpu.configRead("01:00.0", 0, 4) === 0x11e81234, "edu");
      vcpu.configWrite(PORT, at + STATUS, 2, 0xffff);
      vcpu.step("found");
      while (!(status() & 0x01));
      must(vcpu.configRead("01:00.0", 0, 4) === 0x11e81234, "it is there until the guest lets go");
      vcpu.configWrite(PORT, at + CONTROL, 2, 0x400);
      while (status() & 0x40);
    `),
    ["-D", "pcie-root-port,id=port,addr=00:1c.0"],
    async (running) => {
      await running.step("waiting");
      expect((await running.device("add", ["edu,bus=port,id=card"])).stdout).toBe(
        "0000:00:1c.0/00.0 edu (card) added to domain 1\n",
      );
      await running.step("found");
      expect((await running.device("list", [])).stdout).toMatch(/^0000:00:1c\.0\/00\.0 +0000:01:00\.0 +edu +card$/m);
      expect((await running.device("remove", ["port"])).stderr).toMatch(
        /BRIDGE_IN_USE: 0000:00:1c\.0 pcie-root-port has devices behind it: remove 0000:00:1c\.0\/00\.0 edu first/,
      );
      expect((await running.device("remove", ["01:00.0"])).stdout).toBe(
        "domain 1 was asked to let go of 0000:00:1c.0/00.0 edu (card); ioreqd device list shows when it has\n",
      );
    },
  );
  expect(result).toMatchObject(clean);
});

test("a device that is removed while two vCPUs read it, one of them waiting for a late answer, leaves none hanging", async () => {
  const result = await whileServed(
    guestProgram(`
      const words = new Int32Array(vcpu.shared);
      if (vcpu.id === 0) { place(vcpu); vcpu.write(MEMORY + 0x14, 4, 60000); }
      vcpu.barrier();
      if (vcpu.id === 0) vcpu.step("reading");
      if (vcpu.id === 1) must(vcpu.read(MEMORY + 0x10, 4) === 0xffffffff, "the late answer");
      else {
        while (vcpu.read(MEMORY + 4, 4) !== 0xffffffff);
        must(vcpu.repIns(PORTS, 0x1000, 4, 100) === 100, "a rep instruction");
        must(vcpu.ramRead(0x1000, 400).every((byte) => byte === 0xff), "all ones");
      }
    `),
    ["-D", "counter", "-D", "edu"],
    async (running) => {
      await running.step("reading");
      await running.ask("device.remove", { addr: "00:10.0" });
    },
  );
  expect(result.problems).toEqual([]);
});

test("fifty times added and removed, nothing has grown: descriptors, the state file, memory of the layout", async () => {
  const result = await whileServed(IDLE, ["-D", "counter"], async (running) => {
    await running.step("up");
    const once = async (): Promise<void> => {
      await running.ask("device.add", { spec: "pci-serial,addr=00:11.0,chardev=pty" });
      await running.ask("device.add", { spec: `pci-serial,addr=00:12.0,chardev=unix:${running.path("line")}` });
      await running.ask("device.add", { spec: `pci-serial,addr=00:12.3,chardev=file:${running.path("file")}` });
      await running.ask("device.add", { spec: "edu,addr=00:12.1" });
      for (const addr of ["00:12.1", "00:12.3", "00:12.0", "00:11.0"]) await running.ask("device.remove", { addr });
    };
    const before = running.open(); // nobody has asked yet
    const devices = await running.ask("device.list");
    const layout = layoutOf(running);
    for (let i = 0; i < 50; i += 1) await once();
    expect(layoutOf(running)).toBe(layout);
    expect(await running.ask("device.list")).toEqual(devices);
    expect(await running.openIn(before)).toEqual(before);
    await end(running);
  });
  expect(result).toMatchObject(clean);
});

test("two clients at once: each gets what it asked for, and one of two that want the same slot gets it", async () => {
  const result = await whileServed(IDLE, ["-D", "counter"], async (running) => {
    await running.step("up");
    const work = async (slot: string): Promise<void> => {
      for (let i = 0; i < 20; i += 1) {
        await running.ask("device.add", { spec: `edu,addr=00:${slot}.0,id=of-${slot}` });
        await running.ask("device.remove", { id: `of-${slot}` });
      }
    };
    await Promise.all([work("14"), work("15")]);
    const both = await Promise.allSettled([1, 2].map(() => running.ask("device.add", { spec: "edu,addr=00:14.0" })));
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(both.find(({ status }) => status === "rejected")).toMatchObject({ reason: { code: "SLOT_TAKEN" } });
    await end(running);
  });
  expect(result).toMatchObject(clean);
});

test("garbage on the socket is answered with an error, and the guest does not notice", async () => {
  const result = await whileServed(IDLE, ["-D", "counter"], async (running) => {
    await running.step("up");
    const socket = createConnection(running.socket);
    socket.on("error", () => {});
    let replies = "";
    socket.on("data", (text) => {
      replies += String(text);
    });
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.write(`{"command":"device.add"}\n{"command":"device.add","arguments":{"spec":"edu,adr=1"}}\n\0\xff[[[\n`);
    socket.write("x".repeat(200_000));
    await closed;
    const errors = replies
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { error: { code: string } }).error.code);
    expect(errors).toEqual([
      "CONTROL_REQUEST_INVALID",
      "DEVICE_SPEC_INVALID",
      "CONTROL_REQUEST_INVALID",
      "CONTROL_REQUEST_INVALID",
    ]);
    expect(await running.ask("version")).toMatchObject({ protocol: 1, domid: 1, pid: running.pid });
    await end(running);
  });
  expect(result).toMatchObject(clean);
});

test("the terminal of a serial line is told, and hangs up when the line is removed", async () => {
  const result = await whileServed(IDLE, ["-D", "counter"], async (running) => {
    await running.step("up");
    const { stdout } = await running.device("add", ["pci-serial,chardev=pty,id=com"]);
    const [, path = ""] = /^0000:00:11\.0 pci-serial \(com\) on pty (\/dev\/pts\/\d+) added/.exec(stdout) ?? [];
    expect((await running.device("list", [])).stdout).toMatch(new RegExp(`pci-serial +com +pty ${path}`));
    const terminal = new ReadStream(openSync(path, constants.O_RDWR | constants.O_NOCTTY));
    const hungUp = new Promise((resolve) => {
      terminal.on("error", resolve);
      terminal.on("close", resolve);
    });
    terminal.resume();
    await running.device("remove", ["com"]);
    await hungUp;
    expect(existsSync(path)).toBe(false);
    await end(running);
  });
  expect(result).toMatchObject(clean);
});

test("a device of the operator's own comes from a file, relative to where the operator is", async () => {
  const result = await whileServed(IDLE, ["-D", "counter"], async (running) => {
    await running.step("up");
    writeFileSync(
      running.path("mine.ts"),
      `import { definePciDevice } from "ioreqd";
       export default definePciDevice({
         name: "mine", ident: { vendor: 0x1234, device: 0x4242, classCode: 0x00ff00 },
         options: { kind: { kind: "choice", choices: ["good", "bad"], doc: "what it does" } },
         attach({ options }) { if (options.kind === "bad") throw new Error("it was told so"); },
       });`,
    );
    expect((await running.device("add", ["./mine.ts,kind=good"])).stdout).toBe("0000:00:11.0 mine added to domain 1\n");
    expect((await running.device("add", ["./mine.ts,kind=bad"])).stderr).toBe(
      "ioreqd: DEVICE_FAILED: 0000:00:12.0 mine: its attach() failed: it was told so\n",
    );
    await end(running);
  });
  expect(result).toMatchObject(clean);
});

test("a state directory whose path is too long for a socket is told, and the guest is served all the same", () =>
  withDirectory(async (directory) => {
    const stateDir = join(directory, "x".repeat(100));
    const { result, output } = await serve(guestProgram("place(vcpu); must(vcpu.read(MEMORY, 4) === 0, 'served');"), [
      ...["-D", "counter", "--state-dir", stateDir],
    ]);
    expect(result).toMatchObject(clean);
    expect(output).toContain("the path of a unix socket has at most 107 bytes");
  }));

test("the socket is there while the guest is served, for its owner alone, and gone afterwards with its directory", async () => {
  let socket = "";
  const result = await whileServed(IDLE, ["-D", "counter"], async (running) => {
    await running.step("up");
    ({ socket } = running);
    expect(existsSync(socket)).toBe(true);
    await end(running);
  });
  expect(result).toMatchObject(clean);
  expect(existsSync(socket)).toBe(false);
});
