// SPDX-License-Identifier: MIT
/** What a process that a guest has made its own answers to the operator's commands: it must not reach the terminal as it is. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { IoreqdError } from "../../src/base/errors.js";
import { printable } from "../../src/base/printable.js";
import { ControlServer } from "../../src/control/server.js";
import { Supervised } from "../takeover/supervised.js";

/** Sets a title, clears the screen; C1's CSI; carriage return and DEL. */
const ACTS = "\x1b]0;owned\x07\x1b[2J\x9b2J\r\x7f";
const ANY = /[^\P{Cc}\t\n]/u;

test("text is shown, tabs and newlines too, and what a terminal would act upon is not", () => {
  expect(printable("a\tb\nGrüße, 漢字 🙂")).toBe("a\tb\nGrüße, 漢字 🙂");
  expect(printable(`x${ACTS}y`)).toBe("x�]0;owned��[2J�2J��y");
});

test("devices, errors and versions with escape sequences in them are printed without", async () => {
  const all = new Supervised("module.exports = () => {};", []);
  const directory = all.path("state/1");
  mkdirSync(directory, { recursive: true });
  const device = { path: ACTS, addr: ACTS, device: ACTS, id: ACTS, quarantined: false, chardevs: [] };
  const fails = (): never => {
    throw new IoreqdError("DEVICE_ABSENT", ACTS);
  };
  const server = new ControlServer({
    path: join(directory, "control"),
    commands: new Map([
      ["device.list", { takes: {}, run: () => ({ devices: [device] }) }],
      ["device.revive", { takes: { addr: "string", id: "string" }, run: fails }],
      ["version", { takes: {}, run: () => ({ version: ACTS, pid: process.pid, confined: false, waitedMs: null }) }],
      ["reload", { takes: {}, run: () => ({ pid: process.pid }) }],
    ]),
    fault: () => {},
  });
  try {
    const state = ["--state-dir", all.path("state")];
    const finished = [
      await all.ioreqdLater("device", "list", "1", ...state),
      await all.ioreqdLater("device", "revive", "1", "x", ...state),
      await all.ioreqdLater("reload", "1", ...state),
    ];
    for (const { stdout, stderr } of finished) {
      expect(`${stdout}${stderr}`).toContain("owned");
      expect(`${stdout}${stderr}`).not.toMatch(ANY);
    }
  } finally {
    server.close();
    await all.close();
  }
}, 60_000);
