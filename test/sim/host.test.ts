// SPDX-License-Identifier: MIT
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { XENSIM_LIBRARIES } from "../../src/base/place.js";
import { GuestRun, SimHost } from "../../src/sim/index.js";

const SERVER = join(__dirname, "register-server.js");
let directory = "";
let host: SimHost;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sim-test-"));
  host = new SimHost({ socketPath: join(directory, "xen"), memory: 1 << 20, vcpus: 2 });
});
afterEach(() => {
  host.close();
  rmSync(directory, { recursive: true, force: true });
});

test("a new host has a paused domain, no servers and an empty log", () => {
  expect(existsSync(host.socketPath)).toBe(true);
  expect(host.counters()).toMatchObject({ servers: 0, clients: 0, dmOps: 0 });
  expect(host.ranges(0)).toEqual([]);
  expect(host).toMatchObject({ crashReason: null, shutdownCode: null, mappedPages: 0, arch: "x86", vcpus: 2 });
  expect(host.console()).toBe("");
});

test("RAM is one array, good for Atomics, and outlives the host", () => {
  const { ram } = host;
  expect(ram).toHaveLength(1 << 20);
  expect(host.ram).toBe(ram);
  Atomics.store(ram, 5, 7);
  host.close();
  expect(ram[5]).toBe(7);
});

test("closing removes the socket, can be repeated, and ends the use of the host", () => {
  host.close();
  host.close();
  expect(existsSync(host.socketPath)).toBe(false);
  expect(() => host.counters()).toThrow("this simulated host was closed");
});

test("a host without a socket path makes a directory of its own, and takes it away", () => {
  const other = new SimHost({ memory: 1 << 20 });
  const own = dirname(other.socketPath);
  expect(existsSync(other.socketPath)).toBe(true);
  other.close();
  expect(existsSync(own)).toBe(false);
});

test("several hosts live side by side", () => {
  const other = new SimHost({ socketPath: join(directory, "other"), memory: 1 << 20 });
  other.ram[0] = 1;
  expect(host.ram[0]).toBe(0);
  expect(other.id).not.toBe(host.id);
  other.close();
  expect(host.counters().servers).toBe(0);
});

test("waiting for a server ends with false when the time is over, and when the host stops", async () => {
  expect(await host.waitServerEnabled(1)).toBe(false);
  const waiting = host.waitServerEnabled();
  host.stop();
  expect(await waiting).toBe(false);
});

test.each([
  ["no vCPUs", { vcpus: 0 }],
  ["129 vCPUs", { vcpus: 129 }],
  ["half a page of memory", { memory: 2048 }],
  ["a page and a half of memory", { memory: 6144 }],
  ["4 GiB of memory", { memory: 2 ** 32 }],
])("a host with %s is refused", (_, options) => {
  expect(() => new SimHost({ socketPath: join(directory, "bad"), ...options })).toThrow(
    expect.objectContaining({ code: "BAD_VALUE" }),
  );
});

test("a socket that cannot be made is told with its path and the reason", () => {
  const socketPath = join(directory, "no", "such");
  expect(() => new SimHost({ socketPath })).toThrow(
    expect.objectContaining({
      code: "HOST_START_FAILED",
      message: expect.stringContaining("No such file or directory"),
    }),
  );
});

test("its environment keeps what LD_LIBRARY_PATH had", () => {
  expect(host.environment({ LD_LIBRARY_PATH: "/a:/b" })).toEqual({
    XENSIM_SOCKET: host.socketPath,
    LD_LIBRARY_PATH: `${XENSIM_LIBRARIES}:/a:/b`,
    IOREQD_DOMID: "1",
  });
  expect(host.environment({}).LD_LIBRARY_PATH).toBe(XENSIM_LIBRARIES);
});

test("vCPUs that wait for a server that died are freed by the end of the domain", async () => {
  const start = async (): Promise<ReturnType<typeof spawn>> => {
    const enabled = host.waitServerEnabled();
    const env = { ...process.env, ...host.environment() };
    const child = spawn(process.execPath, [SERVER], { env, stdio: "inherit" });
    await enabled;
    return child;
  };
  const first = await start();
  expect(host.ranges(0)).toContainEqual({ type: 0, start: 0x500n, end: 0x5ffn });
  const run = new GuestRun(host, { program: join(__dirname, "one-access-guest.js") });
  expect(await run.loaded).toBe(true);
  first.kill("SIGKILL");
  await once(first, "exit");
  host.unpause();
  run.begin();
  // Its vCPUs now wait for a server that is gone; the domain's end is what frees them.
  host.destroyDomain();
  const outcome = await run.done;
  expect(outcome.vcpus.map(({ state }) => state)).toEqual(["stopped", "stopped"]);
});
