// SPDX-License-Identifier: MIT
/** What a guest sees of an ioreq server that ends while vCPUs ask it without a pause. */

import { join } from "node:path";
import { Access } from "../../src/bus/access.js";
import { IoreqServer } from "../../src/ioreq/server.js";
import { GuestRun } from "../../src/sim/index.js";
import { Arena, arenaSize } from "../../src/state/arena.js";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { simTest } from "./fixture.js";
import { SimFixture, xensimBuilt } from "./sim-fixture.js";

const ADDRESS = 0xf000_0000;
const VALUE = 0x1234_5678;
/** In guest memory. */
const STOP = 0x1000;
const LIVES = 100;

/** A server that answers every read with VALUE. */
function server({ xen, domid }: SimFixture): IoreqServer {
  const layout = JSON.stringify({ devices: [] });
  const arena = Arena.create(new ArrayBuffer(arenaSize(0, layout)), 0, layout);
  const polling = { window: 0, budget: 1 };
  const made = new IoreqServer(
    { domid, bufioreq: "off", polling },
    {
      xen,
      arena,
      bus: {
        access: new Access(),
        read: () => VALUE,
        write: () => {},
        accepts8: () => true,
        flush: () => {},
      },
      memory: { read: () => false, write: () => false, invalidate: () => {} },
      guestEvent: () => {},
      changed: () => {},
      watch: () => () => {},
      lost: () => {},
    },
  );
  xen.mapIoRange(domid, made.id, "mmio", ADDRESS, ADDRESS + 0xfff);
  return made;
}

(xensimBuilt ? describe : describe.skip)("a server that ends (simulated)", () => {
  simTest(
    "gives every vCPU its answer first: it reads what is there, or all-ones, and never anything else",
    async () => {
      const fixture = new SimFixture(openAdapter("koffi"));
      const { sim } = fixture;
      const words = [ADDRESS, VALUE, STOP].map(String);
      const run = new GuestRun(sim, { program: join(__dirname, "busy-guest.js"), arguments: words });
      await run.loaded;
      sim.unpause();
      run.begin();
      let hasEnded = false;
      void run.done.then(() => {
        hasEnded = true;
      });
      for (let life = 0; life < LIVES && !hasEnded; life += 1) {
        const one = server(fixture);
        one.start();
        while (one.counters.copy < 3 && !hasEnded) await new Promise((resolve) => setImmediate(resolve));
        one.stop();
      }
      sim.ram[STOP] = 1;
      expect(await run.done).toEqual({ ok: true, vcpus: [0, 1].map((vcpu) => ({ vcpu, state: "finished" })) });
      await fixture.close();
    },
  );
});
