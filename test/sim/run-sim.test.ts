// SPDX-License-Identifier: MIT
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { formatSimResult, runSim, type SimEvent, type SimOptions, type SimResult } from "../../src/sim/index.js";

const SERVER = [process.execPath, join(__dirname, "register-server.js")];
const SOURCE = join(__dirname, "..", "..", "src");
let directory = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sim-test-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A guest program whose vCPUs each run `body`, a function body in TypeScript. */
function guest(body: string): string {
  const file = join(directory, "guest.ts");
  writeFileSync(
    file,
    `export default (vcpu: { readonly id: number } & Record<string, any>): void | number => { ${body} };`,
  );
  return file;
}

async function run(options: SimOptions): Promise<{ result: SimResult; events: SimEvent[] }> {
  const events: SimEvent[] = [];
  const result = await runSim({
    command: SERVER,
    memoryMib: 4,
    handleSignals: false,
    onProgress: (event) => events.push(event),
    ...options,
  });
  return { result, events };
}

const codes = (result: SimResult): string[] => result.problems.map(({ code }) => code);

test("a guest that finishes makes an ok result, with what it did counted", async () => {
  const { result, events } = await run({
    guest: guest(
      'vcpu.out32(0x500, 0x12345678); if (vcpu.in16(0x502) !== 0x1234) return 1; vcpu.step("read back", { port: 0x502 });',
    ),
  });
  expect(result.problems).toEqual([]);
  expect(result.ok).toBe(true);
  expect(result.counters).toMatchObject({ pio: 2, unhandled: 0, servers: 1 });
  expect(result.roundTrips.pioRead?.count).toBe(1);
  expect(result.roundTrips.all?.count).toBe(2);
  expect(events.find(({ type }) => type === "step")).toMatchObject({
    text: "read back",
    detail: { port: 0x502 },
    vcpu: 0,
  });
  expect(events.map(({ type }) => type)).toEqual([
    "listening",
    "command-started",
    "server-enabled",
    "step",
    "guest-ended",
    "command-exited",
  ]);
  expect(JSON.parse(JSON.stringify(result))).toEqual(result);
});

test("the command ends by our SIGTERM, and nothing of the run is left", async () => {
  const { result, events } = await run({ guest: guest("vcpu.in8(0x500);") });
  expect(result.command).toMatchObject({ exitCode: null, signal: "SIGTERM", endedBy: "SIGTERM" });
  expect(result.leftovers).toEqual({ servers: 1, clients: 0, mappedPages: 0 });
  const listening = events.find((event) => event.type === "listening");
  expect(existsSync(dirname(listening?.type === "listening" ? listening.socket : "/"))).toBe(false);
});

test("a guest that throws makes a failed result with its message", async () => {
  const { result } = await run({ guest: guest('throw new Error("no such device");') });
  expect(result.exitCode).toBe(1);
  expect(result.problems).toEqual([{ code: "GUEST_FAILED", message: "vCPU 0: no such device" }]);
});

test("a guest that returns non-zero fails", async () => {
  const { result } = await run({ guest: guest("return 3;") });
  expect(codes(result)).toEqual(["GUEST_FAILED"]);
  expect(result.problems[0]?.message).toContain("returned 3");
});

test("when one vCPU fails, those at a barrier and those that sleep are stopped", async () => {
  const { result } = await run({
    vcpus: 3,
    guest: guest(
      'if (vcpu.id === 0) throw new Error("first"); if (vcpu.id === 1) vcpu.barrier(); vcpu.waitInterrupt(() => false);',
    ),
  });
  expect(result.guest?.vcpus.map(({ state }) => state)).toEqual(["failed", "stopped", "stopped"]);
  expect(codes(result)).toEqual(["GUEST_FAILED"]);
});

test("a vCPU in a loop of its own is ended when another one fails", async () => {
  const { result } = await run({ vcpus: 2, guest: guest('if (vcpu.id === 1) throw new Error("first"); for (;;);') });
  expect(result.guest?.vcpus.map(({ state }) => state)).toEqual(["stopped", "failed"]);
});

test("a guest program that does not load is told before anything runs", async () => {
  const file = join(directory, "broken.ts");
  writeFileSync(file, "export default (");
  const { result } = await run({ guest: file });
  expect(codes(result)).toEqual(["MODULE_LOAD_FAILED"]);
  expect(result.counters.pio).toBe(0);
});

test("a guest program without a default export is told", async () => {
  const file = join(directory, "nothing.ts");
  writeFileSync(file, "export const one = 1;");
  const { result } = await run({ guest: file });
  expect(codes(result)).toEqual(["GUEST_LOAD_FAILED"]);
  expect(result.problems[0]?.message).toContain("its default export is missing");
});

test("a guest program that never finishes loading can be interrupted", async () => {
  const file = join(directory, "endless.ts");
  writeFileSync(file, "for (;;) {}");
  const abort = new AbortController();
  const result = await runSim({
    command: SERVER,
    memoryMib: 4,
    handleSignals: false,
    guest: file,
    signal: abort.signal,
    onProgress: (event) => {
      if (event.type === "server-enabled") abort.abort();
    },
  });
  expect(codes(result)).toEqual(["INTERRUPTED"]);
  expect(result.command?.signal).toBe("SIGTERM");
});

test("a guest program that does not exist is refused, with the built-in ones named", async () => {
  await expect(run({ guest: "idel" })).rejects.toMatchObject({
    code: "GUEST_NOT_FOUND",
    message: expect.stringContaining("did you mean idle"),
  });
});

test("a device model that breaks the protocol crashes the domain, and Xen's words are in the result", async () => {
  const { result } = await run({ guest: guest("vcpu.out8(0x5f8, 0);") });
  expect(codes(result)).toEqual(["DOMAIN_CRASHED"]);
  expect(result.crashReason).toContain("Weird HVM");
  expect(formatSimResult(result)).toContain("(XEN)");
});

test("a device model that powers the domain off stops the guest", async () => {
  const { result } = await run({ guest: guest("vcpu.out8(0x5e0, 0); vcpu.waitInterrupt(() => false);") });
  expect(result.guest?.vcpus[0]).toMatchObject({ state: "stopped", code: "DOMAIN_SHUTDOWN" });
  expect(codes(result)).toEqual(["DOMAIN_SHUTDOWN"]);
});

test("a command that exits before it enabled a server is told", async () => {
  const { result } = await run({ command: [process.execPath, "-e", "process.exit(3)"], guest: "idle" });
  expect(codes(result)).toEqual(["COMMAND_EXITED"]);
  expect(result.problems[0]?.message).toContain("exit code 3");
});

test("a command that exits is told at once, though a child of its own holds its output open", async () => {
  const { result } = await run({
    command: ["sh", "-c", "sleep 5 & echo no such setting >&2; exit 3"],
    commandOutput: () => {},
    guest: "idle",
  });
  expect(codes(result)).toEqual(["COMMAND_EXITED"]);
  expect(result.command).toMatchObject({ exitCode: 3, endedBy: "itself" });
});

test("what a command said last on its standard error is in the message", async () => {
  const { result } = await run({
    command: ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i >&2; done; exit 3"],
    commandOutput: () => {},
    guest: "idle",
  });
  const last = Array.from({ length: 10 }, (_, i) => `  line ${i + 3}`).join("\n");
  expect(result.problems[0]?.message).toMatch(new RegExp(`; it said:\n${last}$`));
});

test("a command that exits while the guest waits for it is told, and the guest is stopped", async () => {
  const { result } = await run({ guest: guest("vcpu.out8(0x5fc, 4);") });
  expect(codes(result)).toEqual(["COMMAND_EXITED"]);
  expect(result.guest?.vcpus[0]?.state).toBe("stopped");
});

test("a command that cannot be started is told", async () => {
  const { result } = await run({ command: ["/no/such/program"], guest: "idle" });
  expect(codes(result)).toEqual(["COMMAND_NOT_STARTED"]);
});

test("a command that enables no server in time is told", async () => {
  const { result } = await run({
    command: [process.execPath, "-e", "setInterval(() => {}, 1000)"],
    guest: "idle",
    serverTimeoutMs: 300,
  });
  expect(codes(result)).toEqual(["SERVER_TIMEOUT"]);
  expect(result.command?.signal).toBe("SIGTERM");
});

test("a command that ignores SIGTERM is killed, and that is a failure", async () => {
  const script = `process.on("SIGTERM", () => {}); process.argv[1] = ${JSON.stringify(SERVER[1])}; setInterval(() => {}, 1000); console.log("up")`;
  const abort = new AbortController();
  const { result } = await run({
    command: [process.execPath, "-e", script],
    commandOutput: () => abort.abort(),
    exitTimeoutMs: 100,
    signal: abort.signal,
  });
  expect(result.command).toMatchObject({ signal: "SIGKILL", endedBy: "SIGKILL" });
  expect(codes(result)).toEqual(["COMMAND_FAILED"]);
});

test("without a guest program the run lasts until it is aborted, and is ok", async () => {
  const abort = new AbortController();
  const { result, events } = await run({
    signal: abort.signal,
    figuresMs: 10,
    onProgress: (event) => {
      if (event.type === "figures") abort.abort();
    },
  });
  expect(result).toMatchObject({ ok: true, guest: null, interruptedBy: "abort" });
  expect(events).toEqual([]);
});

test("figures come while the guest runs", async () => {
  const figures: SimEvent[] = [];
  const abort = new AbortController();
  const { result } = await run({
    guest: guest("for (;;) vcpu.in8(0x500);"),
    figuresMs: 20,
    signal: abort.signal,
    onProgress: (event) => {
      if (event.type !== "figures") return;
      figures.push(event);
      if ((event.roundTrips.pioRead?.count ?? 0) > 10) abort.abort();
    },
  });
  expect(codes(result)).toEqual(["INTERRUPTED"]);
  expect(figures.length).toBeGreaterThan(0);
});

test("SIGINT to the process ends guest, command and host, and removes the socket", async () => {
  const script = `
    const { runSim } = require(${JSON.stringify(join(SOURCE, "sim", "index.js"))});
    runSim({ command: ${JSON.stringify(SERVER)}, guest: "idle", onProgress: (event) => {
      if (event.type === "server-enabled") process.kill(process.pid, "SIGINT");
    } }).then((result) => console.log(JSON.stringify(result)));`;
  const child = spawn(process.execPath, ["-e", script], {
    env: { ...process.env, TMPDIR: directory },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const [exitCode] = await once(child, "close");
  const result = JSON.parse(output) as SimResult;
  expect(exitCode).toBe(0);
  expect(result.interruptedBy).toBe("SIGINT");
  expect(result.command?.signal).toBe("SIGTERM");
  expect(readdirSync(directory)).toEqual([]);
});

test("process.exit() in the middle of a run leaves no child and no socket", async () => {
  const script = `
    const { runSim } = require(${JSON.stringify(join(SOURCE, "sim", "index.js"))});
    runSim({ command: ${JSON.stringify(SERVER)}, guest: "idle", onProgress: (event) => {
      if (event.type === "command-started") console.log(event.pid);
      if (event.type === "server-enabled") process.exit(0);
    } });`;
  const child = spawn(process.execPath, ["-e", script], {
    env: { ...process.env, TMPDIR: directory },
    stdio: ["ignore", "pipe", "inherit"],
  });
  // "close" comes when all that held the pipe have gone, and so has the command, which inherited it.
  await once(child, "close");
  expect(readdirSync(directory)).toEqual([]);
});
