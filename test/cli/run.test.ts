// SPDX-License-Identifier: MIT
/** A whole ioreqd, attached through FFI, serving a guest on the simulated host. */

import { execFile, execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/base/place.js";
import { runSim } from "../../src/sim/index.js";
import { guestProgram, ioreqd, PROGRAM, serve, withDirectory } from "../support/ioreqd.js";
import { testJudgedBy } from "../support/judges.js";

const clean = { ok: true, problems: [], leftovers: { servers: 0, clients: 0, mappedPages: 0 } };

test.each(["off", "legacy", "atomic"])("serves and leaves nothing behind, with a ring that is %s", async (mode) => {
  const { result } = await serve(
    guestProgram("place(vcpu); for (let i = 0; i < 100; i++) must(vcpu.read(MEMORY, 4) === i, 'a gap at ' + i);"),
    [...["-D", "counter", "--bufioreq", mode]],
  );
  expect(result).toMatchObject(clean);
});

test.each(["0", "200"])("every number exactly once to two vCPUs, with a polling window of %s us", async (window) => {
  const { result } = await serve(
    guestProgram(`
      if (vcpu.id === 0) place(vcpu);
      vcpu.barrier();
      const words = new Uint32Array(vcpu.shared), N = 5000;
      for (let i = 0; i < N; i++) words[vcpu.id * N + i] = vcpu.read(MEMORY, 4);
      vcpu.barrier();
      if (vcpu.id === 0) words.slice(0, 2 * N).sort().forEach((value, i) => must(value === i, "gap or repeat at " + i));
    `),
    ["-D", "counter", "--poll-window", window],
    { vcpus: 2 },
  );
  expect(result).toMatchObject(clean);
});

test("one vCPU waits for a late answer while the other goes on", async () => {
  const { result } = await serve(
    guestProgram(`
      if (vcpu.id === 0) { place(vcpu); vcpu.write(MEMORY + 0x14, 4, 50); }
      vcpu.barrier();
      const words = new Int32Array(vcpu.shared);
      if (vcpu.id === 0) { vcpu.read(MEMORY + 0x10, 4); Atomics.store(words, 0, 1); }
      else { let reads = 0; while (Atomics.load(words, 0) === 0) { vcpu.read(MEMORY + 4, 4); reads++; } must(reads > 1, "it waited too"); }
    `),
    ["-D", "counter"],
    { vcpus: 2 },
  );
  expect(result).toMatchObject(clean);
});

test("rep instructions, buffered and broadcast requests end as Xen wants them", async () => {
  const { result } = await serve(
    guestProgram(`
      place(vcpu);
      vcpu.repIns(PORTS, 0x1000, 4, 1000);
      new Uint32Array(vcpu.ram.buffer, 0x1000, 1000).forEach((value, i) => must(value === i, "element " + i + " is " + value));
      vcpu.write(MEMORY + 8, 4, 0);
      must(vcpu.read(MEMORY, 8) === 0x100000000n, "eight bytes");
      vcpu.invalidate();
      vcpu.sendTimeoffset(5);
      vcpu.balloonOut(5); vcpu.balloonIn(5);
      must(vcpu.configRead("00:1f.0", 0, 4) === 0xffffffff, "an empty slot");
    `),
    ["-D", "counter"],
  );
  expect(result).toMatchObject(clean);
  expect(result.counters.timeoffset).toBe(1);
});

test("what a guest put into the ring is applied before what it asked afterwards is answered", async () => {
  const { result } = await serve(
    guestProgram(`
      place(vcpu, "00:10.0", 0xa0000);
      for (let i = 0; i < 50000; i++) {
        vcpu.vgaWrite(0xa0008, 4, 0); // RESET, buffered
        must(vcpu.in32(PORTS) === 0, "request " + i + " overtook the write before it");
      }
    `),
    ["-D", "counter"],
  );
  expect(result).toMatchObject(clean);
  expect(result.counters.buffered).toBeGreaterThan(40_000);
});

test("-v logs state changes, -vv every access by name, -vvv raw requests; nothing of it without", async () => {
  const guest = guestProgram("place(vcpu); vcpu.write(MEMORY + 4, 4, 0x1234); vcpu.read(MEMORY + 4, 4);");
  const messages = async (...flags: string[]): Promise<Set<unknown>> =>
    new Set((await serve(guest, ["-D", "edu", ...flags])).log.map(({ msg }) => msg));
  expect(await messages()).toEqual(new Set(["ready", "stopping", "stopped"]));
  expect(await messages("-v")).toContain("range mapped");
  const { log } = await serve(guest, ["-D", "edu", "-vvv"]);
  expect(log.find(({ reg }) => reg === "LIVE")).toMatchObject({
    vcpu: 0,
    kind: "mmio",
    op: "W",
    device: "0000:00:10.0 edu bar0",
    width: 4,
    value: "0x1234",
    us: expect.any(Number) as number,
  });
  expect(log.filter(({ reg }) => reg === "LIVE")[1]).toMatchObject({ op: "R", value: "0xffffedcb" });
  expect(log.find(({ msg }) => msg === "raw request")).toMatchObject({ vcpu: 0, size: expect.any(Number) as number });
});

test("what a guest can cause does not flood the log", async () => {
  const { result, log } = await serve(
    guestProgram("place(vcpu); for (let i = 0; i < 3000; i++) vcpu.write(MEMORY, 1, 1);"),
    ["-D", "pvpanic"],
  );
  expect(result.ok).toBe(true);
  const told = log.filter(({ msg }) => msg === "the guest panicked");
  expect(told.length).toBeGreaterThanOrEqual(1);
  expect(told.length).toBeLessThan(30);
});

test("inspect prints the registers by name from another process while the guest runs", () =>
  withDirectory(async (directory) => {
    const program = join(directory, "guest.js");
    // The guest stays until it reads what inspect's run leads to: the end of the run.
    writeFileSync(
      program,
      guestProgram(
        "place(vcpu); vcpu.write(MEMORY + 0xc, 4, 0xcafe); vcpu.step('written'); for (;;) vcpu.read(MEMORY + 4, 4);",
      ),
    );
    const stateDir = join(directory, "state");
    const ended = new AbortController();
    let inspection = "";
    await runSim({
      guest: program,
      command: [process.execPath, PROGRAM, "run", "-D", "counter", "--state-dir", stateDir],
      commandOutput: () => {},
      handleSignals: false,
      signal: ended.signal,
      onProgress: (event) => {
        if (event.type !== "step") return;
        inspection = ioreqd("inspect", "1", "--state-dir", stateDir).stdout;
        ended.abort();
      },
    });
    expect(inspection).toMatch(/domain 1: process \d+, ioreq server 0 \(enabled\)/);
    expect(inspection).toMatch(/bar0 +SCRATCH +0xcafe/);
    expect(inspection).toMatch(/config +VENDOR_ID +0x1234/);
    expect(existsSync(join(stateDir, "1"))).toBe(false);
  }));

test("a second daemon for the same domain is refused while the first serves", () =>
  withDirectory(async (directory) => {
    const program = join(directory, "guest.js");
    writeFileSync(program, guestProgram("vcpu.step('running'); for (;;) vcpu.configRead('00:10.0', 0, 4);"));
    const stateDir = join(directory, "state");
    const ended = new AbortController();
    let environment: Readonly<Record<string, string>> = {};
    let refused = "";
    await runSim({
      guest: program,
      command: [process.execPath, PROGRAM, "run", "-D", "edu", "--state-dir", stateDir],
      commandOutput: () => {},
      handleSignals: false,
      signal: ended.signal,
      onProgress: (event) => {
        if (event.type === "listening") environment = event.environment;
        if (event.type !== "step") return;
        // Not synchronously: this process has the host, and xenstored.
        const second = [PROGRAM, "run", "-D", "edu", "--state-dir", stateDir];
        execFile(process.execPath, second, { env: { ...process.env, ...environment } }, (_error, _stdout, stderr) => {
          refused = stderr;
          ended.abort();
        });
      },
    });
    expect(refused).toContain("is served by process");
  }));

test("a device of the operator's own is loaded from a TypeScript file", () =>
  withDirectory(async (directory) => {
    const file = join(directory, "mine.ts");
    writeFileSync(
      file,
      `import { definePciDevice } from "ioreqd";
       export default definePciDevice({
         name: "mine", ident: { vendor: 0x1234, device: 0x4242, classCode: 0x00ff00 },
         bars: { 0: { space: "mem32", size: 4096, regs: { ANSWER: { at: 0, reset: 42 } } } },
       });`,
    );
    const { result } = await serve(guestProgram("place(vcpu); must(vcpu.read(MEMORY, 4) === 42, 'the answer');"), [
      "-D",
      file,
    ]);
    expect(result).toMatchObject(clean);
  }));

test("a config file serves as the command line does", () =>
  withDirectory(async (directory) => {
    const file = join(directory, "ioreqd.json");
    writeFileSync(
      file,
      JSON.stringify({
        devices: ["counter,addr=00:10.0", { device: "edu", addr: "00:12.0", options: { delay: 0 } }],
        polling: { window: 0 },
      }),
    );
    const { result } = await serve(
      guestProgram("must(vcpu.configRead('00:12.0', 0, 4) === 0x11e81234, 'edu'); place(vcpu); vcpu.read(MEMORY, 4);"),
      ["-c", file],
    );
    expect(result).toMatchObject(clean);
  }));

test("the second FFI adapter serves a guest as the first does", async () => {
  const { result } = await serve(
    guestProgram("place(vcpu); for (let i = 0; i < 100; i++) must(vcpu.read(MEMORY, 4) === i, 'a gap');"),
    ["-D", "counter", "--ffi", "ffi-napi"],
  );
  expect(result).toMatchObject(clean);
});

test("when the host goes, ioreqd ends by itself", async () => {
  const { result } = await serve(guestProgram("place(vcpu); vcpu.raw && 0; throw new Error('the guest gives up');"), [
    "-D",
    "counter",
  ]);
  expect(result.ok).toBe(false);
  expect(result.command).toMatchObject({ exitCode: 0 });
});

testJudgedBy("libxen-dev")("a C ioreq server built against Xen's own headers runs unchanged", () =>
  withDirectory(async (directory) => {
    const server = join(directory, "server");
    const source = join(PACKAGE_ROOT, "bench", "c", "server.c");
    execFileSync("cc", ["-O2", "-o", server, source, "-lxendevicemodel", "-lxenforeignmemory", "-lxenevtchn"], {
      stdio: "pipe",
    });
    const program = join(directory, "guest.js");
    writeFileSync(program, guestProgram("for (let i = 0; i < 1000; i++) must(vcpu.read(MEMORY, 4) === i, 'a gap');"));
    const result = await runSim({ guest: program, command: [server], commandOutput: () => {}, handleSignals: false });
    expect(result).toMatchObject(clean);
  }),
);
