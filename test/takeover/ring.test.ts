// SPDX-License-Identifier: MIT
/** The buffered ring, when a process ends between applying an entry and taking it out. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/base/place.js";
import { guestProgram, withDirectory } from "../support/ioreqd.js";
import { dyingAt, RING_POINTS } from "./fault-points.js";
import { supervised } from "./supervised.js";

/** Counts the writes to one BAR, and tells the count in the other. */
const TALLY = `
  const { definePciDevice } = require(${JSON.stringify(join(PACKAGE_ROOT, "dist/src/index.js"))});
  module.exports = definePciDevice({
    name: "tally",
    ident: { vendor: 0x1234, device: 0x0ca1, classCode: 0x00ff00 },
    bars: {
      0: { space: "mem32", size: 4096, regs: { ADD: { at: 0 } } },
      1: { space: "mem32", size: 4096, regs: { COUNT: { at: 0 } } },
    },
    attach({ bars: { 0: { ADD }, 1: { COUNT } } }) {
      ADD.onWrite(() => { COUNT.value += 1; });
    },
  });
`;

test.each(RING_POINTS)(
  "each entry is applied once, where a process dies at: %s",
  async (point) => {
    await withDirectory(async (directory) => {
      const module = join(directory, "tally.js");
      writeFileSync(module, TALLY);
      // Where Xen buffers writes: the memory of a VGA.
      const program = guestProgram(`
        const VGA = 0xa0000;
        vcpu.configWrite("00:10.0", 0x10, 4, VGA);
        vcpu.configWrite("00:10.0", 0x14, 4, MEMORY);
        vcpu.configWrite("00:10.0", 4, 2, 7);
        for (let n = 0; n < 100; n += 1) vcpu.vgaWrite(VGA, 4, n);
        vcpu.step("written", { count: vcpu.read(MEMORY, 4) });
      `);
      await supervised(
        program,
        ["--device", `${module},addr=10.0`],
        async (all) => {
          await all.start(dyingAt(point, 30));
          all.begin();
          await all.ended();
          expect(await all.start()).toMatchObject({ takenOver: true });
          await expect(all.guest.done).resolves.toMatchObject({ ok: true });
          expect(all.reports.at(-1)).toMatchObject({ text: "written", detail: { count: 100 } });
          expect(all.said("a process died in this request")).toEqual([]);
        },
        { vcpus: 1 },
      );
    });
  },
  60_000,
);
