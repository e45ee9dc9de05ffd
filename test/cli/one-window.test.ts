// SPDX-License-Identifier: MIT
/** Two processes for one guest share its ECAM window function by function; who wants what another has is told so. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { control } from "../../src/control/client.js";
import { type Beside, beside, type Server } from "../support/beside.js";

const GUEST = join(__dirname, "one-window-guest.js");
const PATIENCE_MS = 120_000;
/** Of a guest of two vCPUs. */
const FINISHED = { ok: true, vcpus: [0, 1].map((vcpu) => ({ vcpu, state: "finished" })) };
const NOTHING_LEFT = { servers: 0, ranges: 0, clients: 0 };

/** A file with the window of all; to its name come the devices of each. */
function window(path: string, ecam: object, more: object = {}): (...devices: string[]) => string[] {
  writeFileSync(path, JSON.stringify({ ...more, hostBridges: [{ ecam }] }));
  return (...devices) => ["--config", path, ...devices.flatMap((spec) => ["--device", spec])];
}

/** Of a slot of its own, and of one whose function 1 is the second's. */
const FIRST = ["edu,addr=12.0", "counter,addr=13.0,multifunction=on"];
const SECOND = ["msix-probe,addr=13.1,multifunction=on", "pci-testdev,addr=14.0"];

const settled = async (all: Beside): Promise<void> => {
  // Xen hears of a process's end a moment after we do.
  while (all.host.counters().clients > 0) await new Promise((resolve) => setImmediate(resolve));
};

test.each(["native", "translated"])(
  "two processes share a window (%s): the guest reaches each function at its own, and all-ones where the process has ended",
  (delivery) =>
    beside([GUEST, "shared"], async (all, path) => {
      const devices = window(path("guest.conf"), { base: "0xe0000000", delivery });
      const first = await all.serve("first", ...devices(...FIRST)).ready();
      const second = await all.serve("second", ...devices(...SECOND)).ready();
      all.begin();
      await all.step("reached");
      expect(await second.end()).toBe(0);
      await all.step("alone");
      const third = await all.serve("third", ...devices(...SECOND)).ready();
      expect(await all.guest.done).toEqual(FINISHED);
      expect(await Promise.all([first.end(), third.end()])).toEqual([0, 0]);
      await settled(all);
      expect(all.host.counters()).toMatchObject(NOTHING_LEFT);
    }),
  PATIENCE_MS,
);

test(
  "a function that another process has is refused, at the start and to `device add`; those who have it notice nothing",
  () =>
    beside([GUEST, "shared"], async (all, path) => {
      const devices = window(path("guest.conf"), { base: "0xe0000000" });
      const [first, second] = [all.serve("first", ...devices(...FIRST)), all.serve("second", ...devices(...SECOND))];
      await Promise.all([first.ready(), second.ready()]);
      all.begin();
      await all.step("reached");
      const ranges = [0, 1].map((id) => all.host.ranges(id));
      const third = all.serve("third", ...devices("counter,addr=16.0", "counter,addr=13.1,multifunction=on"));
      expect(await third.ended()).toBe(1);
      expect(third.said).toMatch(/SLOT_TAKEN: 0000:00:13\.1 is taken: ioreq server [01] of domain 1 has that function/);
      const added = ({ stateDir }: Server, spec: string): Promise<unknown> =>
        control(join(stateDir, "1", "control"), "device.add", { spec });
      await expect(added(first, "counter,addr=14.0")).rejects.toThrow("0000:00:14.0 is taken: ioreq server");
      await expect(added(second, "counter,addr=12.0")).rejects.toThrow("0000:00:12.0 is taken: ioreq server");
      expect([0, 1].map((id) => all.host.ranges(id))).toEqual(ranges);
      expect(all.host.counters()).toMatchObject({ servers: 2 });
      // Who says that it is meant may have it.
      const shadow = await all.serve("third", ...devices("counter,addr=14.0,shadow=on")).ready();
      expect(await shadow.end()).toBe(0);

      await second.end();
      await all.step("alone");
      await all.serve("second", ...devices(...SECOND)).ready();
      expect(await all.guest.done).toEqual(FINISHED);
    }),
  PATIENCE_MS,
);

test(
  "one process is killed and taken over, while the other serves: the guest notices neither",
  () =>
    beside([GUEST, "shared"], async (all, path) => {
      const devices = window(path("guest.conf"), { base: "0xe0000000" });
      await all.serve("first", ...devices(...FIRST)).ready();
      const second = await all.serve("second", ...devices(...SECOND)).ready();
      all.begin();
      await all.step("reached");
      expect(await second.end("SIGKILL")).toBe("SIGKILL");
      const next = await all.serve("second", ...devices(...SECOND)).ready();
      expect(next.said).toContain('"takenOver":true');
      await next.end();
      await all.step("alone");
      await all.serve("second", ...devices(...SECOND)).ready();
      expect(await all.guest.done).toEqual(FINISHED);
    }),
  PATIENCE_MS,
);

test(
  "on Arm the first has the whole window, and the second, started after it, the pages of its functions",
  () =>
    beside(
      [GUEST, "arm"],
      async (all, path) => {
        const ecam = { base: "0x10000000" };
        const whole = window(path("whole.conf"), { ...ecam, claim: "window" }, { bufioreq: "off" });
        const pages = window(path("pages.conf"), { ...ecam, claim: "functions" }, { bufioreq: "off" });
        await all.serve("first", ...whole("edu,addr=12.0")).ready();
        const second = await all.serve("second", ...pages("pci-testdev,addr=14.0")).ready();
        all.begin();
        await all.step("reached");
        expect(await second.end()).toBe(0);
        expect(await all.guest.done).toEqual(FINISHED);
      },
      "arm",
    ),
  PATIENCE_MS,
);
