// SPDX-License-Identifier: MIT
/** The lab's own mechanics, with a stand-in for the emulated machine: commands, deadlines, and what is left behind. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type DebianRelease, RELEASES } from "./lab/debian.js";
import { Dom0 } from "./lab/dom0.js";
import { failureSummary } from "./lab/failures.js";
import { labFiles, programOf } from "./lab/lab-files.js";
import { guestLines } from "./lab/qemu.js";
import { inOrder, suiteGroups } from "./lab/suites.js";

let scratch: string;
let directory: string;
let keeper: ChildProcess;
let dom0: Dom0;

beforeEach(async () => {
  scratch = mkdtempSync(path.join(os.tmpdir(), "ioreqd-lab-test-"));
  directory = path.join(scratch, "lab");
  const files = labFiles(directory);
  for (const name of [files.consoles, files.transfer]) mkdirSync(name, { recursive: true });
  writeFileSync(files.plan, JSON.stringify([files.port]));
  writeFileSync(files.serial, "(XEN) all was well\n");
  const standIn = path.join(__dirname, "stand-in.js");
  const qemu = `#!/bin/sh\necho $$ > ${scratch}/pid\nexec ${process.execPath} ${standIn} "$@"\n`;
  writeFileSync(path.join(scratch, "qemu-system-x86_64"), qemu, { mode: 0o755 });
  keeper = spawn(process.execPath, [programOf("keeper.js"), directory, path.join(scratch, "logs")], {
    stdio: ["pipe", "inherit", "inherit"],
    env: { ...process.env, PATH: `${scratch}:${process.env["PATH"]}` },
  });
  dom0 = await eventually(() => Dom0.connect(directory));
});

afterEach(async () => {
  dom0.close();
  if (keeper.exitCode === null && keeper.signalCode === null) {
    keeper.kill();
    await once(keeper, "exit");
  }
  rmSync(scratch, { recursive: true, force: true });
});

test("a command gives its output, its error output and its status", async () => {
  const result = await dom0.sh("echo out; echo err >&2; exit 3", { check: false });
  expect(result).toEqual({ status: 3, stdout: "out\n", stderr: "err\n" });
});

test("a command that fails rejects with what it said", async () => {
  await expect(dom0.sh("echo no such thing >&2; false")).rejects.toMatchObject({
    code: "LAB_COMMAND_FAILED",
    message: expect.stringContaining("no such thing"),
  });
});

test("a file is written to without a shell of dom0, and a place that is not there rejects", async () => {
  const file = path.join(scratch, "written");
  await dom0.write(file, "it's a $line\n");
  expect(readFileSync(file, "utf8")).toBe("it's a $line\n");
  await expect(dom0.write(path.join(scratch, "nowhere/file"), "")).rejects.toMatchObject({
    code: "LAB_COMMAND_FAILED",
    message: expect.stringContaining("nowhere/file"),
  });
});

test("commands of two clients run side by side, and each gets its own output", async () => {
  const other = await Dom0.connect(directory);
  const fifo = path.join(scratch, "fifo");
  await dom0.sh(`mkfifo ${fifo}`);
  const reading = dom0.sh(`cat ${fifo}`);
  await other.sh(`echo from the other > ${fifo}`);
  expect((await reading).stdout).toBe("from the other\n");
  other.close();
});

test("a command that takes too long is ended, and all consoles are shown", async () => {
  await expect(dom0.sh("echo begun; exec sleep 1000", { timeoutMs: 500 })).rejects.toMatchObject({
    code: "LAB_TIMEOUT",
    message: expect.stringMatching(/begun[\s\S]*all was well/),
  });
});

test("when the machine dies, whoever waits is told with the last words of Xen", async () => {
  await dom0.sh("true");
  const waiting = dom0.sh("sleep 1000");
  process.kill(machine(), "SIGKILL");
  await expect(waiting).rejects.toMatchObject({ code: "LAB_GONE", message: expect.stringMatching(/all was well/) });
  await expect(dom0.sh("true")).rejects.toMatchObject({ code: "LAB_GONE" });
});

test("when its starter goes, the lab ends, leaves its logs and nothing else", async () => {
  await dom0.sh("true");
  const pid = machine();
  keeper.stdin?.end();
  await once(keeper, "exit");
  expect(existsSync(directory)).toBe(false);
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  expect(readFileSync(path.join(scratch, "logs/xen-serial.log"), "utf8")).toMatch(/all was well/);
});

test("a lab that is kept outlives its starter, and ends when it is asked to", async () => {
  keeper.stdin?.end("keep\n");
  await dom0.sh("true");
  await dom0.endLab();
  await once(keeper, "exit");
  expect(existsSync(directory)).toBe(false);
});

test("the machine is gone when its keeper was killed", async () => {
  await dom0.sh("true");
  const pid = machine();
  keeper.kill("SIGKILL");
  await eventually(async () => {
    if (existsSync(`/proc/${pid}`)) throw new Error(`process ${pid} is still there`);
  });
});

function machine(): number {
  return Number(readFileSync(path.join(scratch, "pid"), "utf8"));
}

/** What another process is about to make true. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + 10_000; ; await pause(20)) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}

test("what failed is said again at the end: suite, test, what was expected and what came, without the stack", () => {
  const why =
    "\u001b[31mexpect(received).toBe(expected)\u001b[39m\n\nExpected: 1\nReceived: 2\n    at Object.<anonymous> (x.js:1:1)";
  const summary = failureSummary([
    { file: "/dist/test/real-xen/xl.xen.js", passed: 2, failures: [{ test: "by hand", why }] },
  ]);
  expect(summary).toBe("FAIL xl: by hand\n     expect(received).toBe(expected)\n     Expected: 1\n     Received: 2");
});

describe("suites are shared among labs in groups", () => {
  const names = (groups: readonly string[][]) => groups.map((group) => group.map((file) => path.basename(file)));

  test("each suite is in one, and those that use the same guest are in one together", () => {
    const suites = readdirSync(__dirname).filter((name) => name.endsWith(".xen.js"));
    const groups = names(suiteGroups());
    expect(groups.flat().sort()).toEqual(suites.sort());
    for (const guest of ["machine", "traveller"]) {
      const call = new RegExp(`\\b${guest}\\)?\\(dom0\\)`);
      const shares = (name: string) => call.test(readFileSync(path.join(__dirname, name), "utf8"));
      expect(groups.filter((group) => group.some(shares)).map((group) => group.every(shares))).toEqual([true]);
    }
  });

  test("those of a group run in its order, whatever jest knows of them", () => {
    const paths = ["takeover", "interrupts", "reload"].map((name) => ({ path: `/somewhere/${name}.xen.js` }));
    expect(inOrder(paths).map(({ path: file }) => path.basename(file, ".xen.js"))).toEqual([
      "interrupts",
      "reload",
      "takeover",
    ]);
  });

  test("a pattern leaves out the others", () => {
    expect(names(suiteGroups("(xl|boot|bridges)\\.xen"))).toEqual([["bridges.xen.js"], ["xl.xen.js"], ["boot.xen.js"]]);
  });

  test.each(["nobody", "("])("a pattern that finds none is refused: %s", (only) => {
    expect(() => suiteGroups(only)).toThrow(expect.objectContaining({ code: "LAB_OPTION_INVALID" }) as Error);
  });
});

describe("guests have shadow paging where QEMU answers reads of CR2 wrongly with nested paging", () => {
  const [bookworm, trixie] = RELEASES as [DebianRelease, DebianRelease];

  test.each([
    ["7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", ""],
    ["9.0.2", ""],
    ["9.1.0", "hap = 0\n"],
    ["10.0.11 (Debian 1:10.0.11+ds-0+deb13u1)", "hap = 0\n"],
  ])("%s", (version, lines) => {
    expect(guestLines(version, bookworm)).toBe(lines);
  });

  test("and where Xen has none that is refused, with what to do", () => {
    expect(guestLines("7.2.22", trixie)).toBe("");
    expect(() => guestLines("10.0.11", trixie)).toThrow("under QEMU 10.0.11 guests need shadow paging");
  });
});
