// SPDX-License-Identifier: MIT
/** The newcomer's first command, with real processes. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import type { DemoSummary } from "../../src/cli/demo.js";
import { ioreqd, PROGRAM } from "../support/ioreqd.js";

test("demo --once --json prints one object: every step done, the tree, the figures", () => {
  const { status, stdout, stderr } = ioreqd("demo", "--once", "--json");
  const summary = JSON.parse(stdout) as DemoSummary;
  expect({ status, stderr, ok: summary.ok, problems: summary.problems }).toEqual({
    status: 0,
    stderr: "",
    ok: true,
    problems: [],
  });
  expect(summary.tree.length).toBeGreaterThanOrEqual(5);
  const steps = summary.steps.map(({ text }) => text.split(" ")[0]);
  expect(steps).toEqual(["enumerated", "sized", "edu", "edu", "pci-serial", "pci-testdev", "pvpanic", "counter:"]);
  expect(summary.figures.roundTrips.mmioRead?.count).toBeGreaterThan(4000);
});

test("demo --once prints steps, the tree as lspci does, and figures", () => {
  const { status, stdout } = ioreqd("demo", "--once");
  expect(stdout).toContain("00:11.0 Serial controller [0700]: Device [1b36:0002] (rev 01) (prog-if 02)");
  expect(stdout).toContain("I/O ports at c000 [size=8]");
  expect(stdout).toMatch(/mmioRead +\d+ +[\d.]+ +[\d.]+/);
  expect(stdout).toContain("all steps done");
  expect(status).toBe(0);
});

test("demo runs until Ctrl-C, which ends guest, ioreqd and Xen cleanly", async () => {
  const child = spawn(process.execPath, [PROGRAM, "demo"], { stdio: ["ignore", "pipe", "inherit"] });
  let stdout = "";
  let interrupted = false;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    if (interrupted || !stdout.includes("no gap and no repeat")) return;
    interrupted = true;
    child.kill("SIGINT");
  });
  const [status] = (await once(child, "close")) as [number | null];
  expect(stdout).toContain("all steps done");
  expect(status).toBe(0);
});

test("a step that fails makes the exit code 1 and says which", () => {
  // One vCPU more than an ioreq page has slots for: the simulated host refuses.
  const { status, stderr } = ioreqd("demo", "--once", "--vcpus", "129");
  expect(stderr).toContain("from 1 to 128");
  expect(status).not.toBe(0);
});
