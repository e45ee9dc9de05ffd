// SPDX-License-Identifier: MIT
/** What xenstore tells of a simulated guest's life. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DomainStore } from "../../src/sim/domain-store.js";
import { runSim, SIM_DOMID, SimHost } from "../../src/sim/index.js";
import { XenStore } from "../../src/xenstore/client.js";
import { withDirectory } from "../support/ioreqd.js";

const SERVER = [process.execPath, join(__dirname, "register-server.js")];
const HOME = `/local/domain/${SIM_DOMID}`;

/** A run of the guest, and how often @releaseDomain fired in it, beside the time when it was watched. */
async function ends(guest: string): Promise<{ codes: string[]; fired: number }> {
  return withDirectory(async (directory) => {
    const program = join(directory, "guest.js");
    writeFileSync(program, `module.exports = (vcpu) => { ${guest} };`);
    let fired = -1;
    let watching: Promise<XenStore> | null = null;
    const watch = async (path: string | undefined): Promise<XenStore> => {
      const store = await XenStore.connect(path === undefined ? {} : { path });
      await store.watch("@releaseDomain", () => {
        fired += 1;
      });
      return store;
    };
    const { problems } = await runSim({
      command: SERVER,
      memoryMib: 4,
      handleSignals: false,
      guest: program,
      onProgress: (event) => {
        if (event.type === "listening") watching = watch(event.environment["XENSTORED_PATH"]);
      },
    });
    const store = await (watching as Promise<XenStore> | null);
    await store?.lost; // all it was told comes before
    return { codes: problems.map(({ code }) => code), fired };
  });
}

test("the environment that a device model is given leads to a store, where its guest is introduced", () =>
  withDirectory(async (directory) => {
    const host = new SimHost({ socketPath: join(directory, "xensim") });
    const domain = await DomainStore.start(host);
    const store = await XenStore.connect({ path: domain.path });
    expect(await store.isIntroduced(SIM_DOMID)).toBe(true);
    expect([await store.read(`${HOME}/name`), await store.read(`${HOME}/domid`)]).toEqual(["guest", "1"]);
    const vm = (await store.read(`${HOME}/vm`)) as string;
    expect([await store.read(`${vm}/name`), await store.read(`${vm}/uuid`)]).toEqual(["guest", vm.slice(4)]);
    store.close();
    domain.close();
    host.close();
  }));

test("once the domain is destroyed it is not introduced, its nodes are gone, and that is told once", () =>
  withDirectory(async (directory) => {
    const host = new SimHost({ socketPath: join(directory, "xensim") });
    const domain = await DomainStore.start(host);
    const store = await XenStore.connect({ path: domain.path });
    const model = `/local/domain/0/device-model/${SIM_DOMID}`;
    const vm = (await store.read(`${HOME}/vm`)) as string;
    await store.write(`${model}/state`, "running");
    const introduced: boolean[] = [];
    await store.watch("@releaseDomain", async () => introduced.push(await store.isIntroduced(SIM_DOMID)));
    domain.look();
    await store.read("/");
    host.destroyDomain();
    domain.look();
    domain.look();
    expect([await store.read(HOME), await store.read(vm), await store.read(model)]).toEqual([null, null, null]);
    expect(introduced).toEqual([true, false]);
    store.close();
    domain.close();
    host.close();
  }));

test("a guest that powers off is told of when it does, and when it is destroyed", async () => {
  expect(await ends("vcpu.out8(0x5e0, 1);")).toMatchObject({ fired: 2 });
});

test("a guest that Xen crashes is told of when it does, and when it is destroyed", async () => {
  expect(await ends("vcpu.out8(0x5f8, 1);")).toEqual({ codes: ["DOMAIN_CRASHED"], fired: 2 });
});

test("a guest program that ends leaves a domain behind, which is destroyed with the host", async () => {
  expect(await ends("vcpu.out8(0x500, 1);")).toEqual({ codes: [], fired: 1 });
});
