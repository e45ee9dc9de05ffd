// SPDX-License-Identifier: MIT
/** File systems that are full, each a real one: a small tmpfs. */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { control } from "../../src/control/client.js";
import { SIM_DOMID, SimHost } from "../../src/sim/host.js";
import { PROGRAM, withDirectory } from "../support/ioreqd.js";
import { GuestThatWorks } from "./guest-that-works.js";

const KIB = 1024;
const mayMount = process.getuid?.() === 0 && mounts();
if (!mayMount) process.stderr.write("tests of full disks are skipped: they mount a tmpfs, which takes root\n");
const testOnTmpfs = mayMount ? test : test.skip;

function mounts(): boolean {
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "tmpfs", "none", "/tmp"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** A tmpfs of so many KiB. */
function withTmpfs(kib: number, act: (directory: string) => Promise<void>): Promise<void> {
  return withDirectory(async (directory) => {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${kib}k`, "none", directory]);
    try {
      await act(directory);
    } finally {
      execFileSync("umount", ["--lazy", directory]);
    }
  });
}

/** All that is left of it. */
function fill(directory: string): string {
  const path = join(directory, "filling");
  try {
    for (let size = 256 * KIB; size >= 1; size = Math.floor(size / 2)) {
      for (;;) {
        try {
          writeFileSync(path, Buffer.alloc(size), { flag: "a" });
        } catch {
          break;
        }
      }
    }
  } catch {
    // it is full
  }
  return path;
}

const allocated = (path: string): number => statSync(path).blocks * 512;

testOnTmpfs.each([0, 8, 512, 4096])(
  "a state directory with %d KiB left is an error, and nothing is left behind",
  (kib) =>
    withTmpfs(Math.max(kib, 4), async (directory) => {
      if (kib === 0) fill(directory);
      const before = readdirSync(directory);
      const host = new SimHost();
      const argv = [PROGRAM, "run", "--domid", "1", "-D", "edu", "--state-dir", directory];
      const child = spawn(process.execPath, argv, { env: { ...process.env, ...host.environment() } });
      let said = "";
      child.stderr.on("data", (text) => {
        said += String(text);
      });
      const [code] = (await once(child, "close")) as [number | null];
      expect({ code, said }).toEqual({
        code: 1,
        said: expect.stringMatching(/^ioreqd: STATE_FAILED: .*ENOSPC.*\n$/) as string,
      });
      expect(readdirSync(directory)).toEqual(before);
      expect(host.counters()).toMatchObject({ servers: 0, ranges: 0 });
      host.close();
    }),
);

testOnTmpfs(
  "the state file has all of its blocks: a guest is served, and gets devices, on a file system that is full",
  () =>
    withTmpfs(16 * KIB, async (directory) => {
      await GuestThatWorks.serve({ stateDir: directory }, async (guest) => {
        const state = join(directory, String(SIM_DOMID), "state");
        fill(directory);
        expect(allocated(state)).toBeGreaterThanOrEqual(statSync(state).size);
        await guest.works();
        const socket = join(directory, String(SIM_DOMID), "control");
        for (let n = 0; n < 8; n += 1)
          await control(socket, "device.add", { spec: `edu,addr=1${n.toString(16)}.0,id=e${n}` }).catch(() => {});
        await guest.works();
        const { devices } = (await control(socket, "device.list")) as { devices: unknown[] };
        expect(devices.length).toBeGreaterThan(5);
        await guest.killAndTakeOver();
        await guest.works();
        expect(await guest.end()).toBe(0);
        expect(existsSync(state)).toBe(false);
      });
    }),
);

testOnTmpfs(
  "a log on a disk that is full costs lines: the guest is served, and the log goes on when there is room",
  () =>
    withTmpfs(4 * KIB, async (directory) => {
      const path = join(directory, "log");
      const fd = openSync(path, "a");
      await GuestThatWorks.serve({ stderr: fd, verbosity: "-vv" }, async (guest) => {
        const filling = fill(directory);
        await guest.works();
        const size = statSync(path).size;
        rmSync(filling);
        await guest.works();
        expect(statSync(path).size).toBeGreaterThan(size);
        expect(await guest.end()).toBe(0);
      });
      closeSync(fd);
      expect(readFileSync(path, "utf8")).toMatch(/"lines":[1-9]\d*,"msg":"log lines lost"/);
    }),
);
