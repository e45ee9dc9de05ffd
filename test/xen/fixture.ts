// SPDX-License-Identifier: MIT
/**
 * Where the contract of XenHost is held: the simulated host, one for each test; or, with
 * IOREQD_TEST_DOMID=N in dom0, a real Xen and its domain N: an HVM guest that was created paused, and is
 * destroyed afterwards. Its low memory is written to.
 */

import { type DomId, domId, type IoservId } from "../../src/base/ids.js";
import type { SimHost } from "../../src/sim/host.js";
import { ADAPTERS } from "../../src/xen/ffi/index.js";
import type { FfiAdapter } from "../../src/xen/ffi/table.js";
import type { BufioreqMode } from "../../src/xen/host.js";
import { NativeXen } from "../../src/xen/native.js";
import { installedAdapter } from "./adapters.js";
import { SimFixture, xensimBuilt } from "./sim-fixture.js";

const REAL_DOMID = process.env["IOREQD_TEST_DOMID"];

/** What only the simulated host can do or show. On a real Xen a visible skip. */
export const simTest: typeof test = REAL_DOMID === undefined ? test : (test.skip as typeof test);

export interface XenFixture {
  readonly xen: NativeXen;
  readonly domid: DomId;
  /** Servers that the domain had before the test: QEMU's on a real Xen. */
  readonly otherServers: number;
  /** For simTest only: throws on a real Xen. */
  readonly sim: SimHost;
  inPort(vcpu: number, port: number, width: 1 | 2 | 4): Promise<number>;
  close(): Promise<void>;
}

/** Destroys what it created: the domain outlives the test. */
class RealXen extends NativeXen {
  readonly #created: Array<[DomId, IoservId]> = [];

  override createIoreqServer(domid: DomId, mode: BufioreqMode): IoservId {
    const id = super.createIoreqServer(domid, mode);
    this.#created.push([domid, id]);
    return id;
  }

  override destroyIoreqServer(domid: DomId, id: IoservId): void {
    super.destroyIoreqServer(domid, id);
    const at = this.#created.findIndex(([owner, other]) => owner === domid && other === id);
    this.#created.splice(at, 1);
  }

  destroyCreated(): void {
    for (const [domid, id] of this.#created.splice(0)) super.destroyIoreqServer(domid, id);
  }
}

class RealFixture implements XenFixture {
  readonly xen: NativeXen;
  readonly domid: DomId;
  readonly otherServers = 1;
  readonly #ffi: FfiAdapter;
  readonly #servers: RealXen;

  constructor(ffi: FfiAdapter, domid: DomId) {
    this.#ffi = ffi;
    this.domid = domid;
    this.#servers = new RealXen(ffi);
    this.xen = this.#servers;
  }

  get sim(): SimHost {
    throw new Error("this is a real Xen: such a test is a simTest");
  }

  inPort(): Promise<number> {
    throw new Error("nobody executes accesses in a paused guest: such a test is a simTest");
  }

  /** A test may have closed its host, or restricted it; servers are destroyed all the same. */
  async close(): Promise<void> {
    try {
      this.#servers.destroyCreated();
    } catch {
      this.#destroyByNumber();
    }
    this.xen.close();
  }

  #destroyByNumber(): void {
    const host = new NativeXen(this.#ffi);
    for (let id = this.otherServers; id < 8; id += 1) {
      try {
        host.destroyIoreqServer(this.domid, id as IoservId);
      } catch {
        // There is no such server.
      }
    }
    host.close();
  }
}

/** A suite over every adapter, each test with a fixture of its own, which `now()` gives. */
export function describeOnXen(what: string, suite: (now: () => XenFixture) => void): void {
  const where = REAL_DOMID === undefined ? "simulated" : `real Xen, domain ${REAL_DOMID}`;
  const here = REAL_DOMID !== undefined || xensimBuilt;
  for (const name of ADAPTERS) {
    const adapter = here ? installedAdapter(name) : null;
    const why = adapter !== null ? "" : here ? ": not installed" : ": xensim is not built";
    (adapter === null ? describe.skip : describe)(`${what} (${where}, ${name}${why})`, () => {
      let fixture: XenFixture;
      beforeEach(() => {
        const ffi = adapter as FfiAdapter;
        fixture = REAL_DOMID === undefined ? new SimFixture(ffi) : new RealFixture(ffi, domId(Number(REAL_DOMID)));
      });
      afterEach(() => fixture.close());
      suite(() => fixture);
    });
  }
}

/** Matches an IoreqdError with this code and these words in its message. */
export const coded = (code: string, words = "") =>
  expect.objectContaining({ code, message: expect.stringContaining(words) });
