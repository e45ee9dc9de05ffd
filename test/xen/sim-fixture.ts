// SPDX-License-Identifier: MIT
/** A simulated host in this process, and NativeXen on it. */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { type DomId, domId } from "../../src/base/ids.js";
import { XENSIM_BUILD, XENSIM_LIBRARIES } from "../../src/base/place.js";
import { SIM_DOMID, SimHost, type SimHostOptions } from "../../src/sim/host.js";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { type FfiAdapter, libraryTable } from "../../src/xen/ffi/table.js";
import { NativeXen } from "../../src/xen/native.js";

const SIM_ADDON = join(XENSIM_BUILD, "host.node");
export const xensimBuilt = existsSync(SIM_ADDON) && existsSync(XENSIM_LIBRARIES);

const env = libraryTable({
  soname: "libc.so.6",
  debian: "libc6",
  functions: {
    setenv: { returns: "int", takes: ["string", "string", "int"] },
    unsetenv: { returns: "int", takes: ["string"] },
  },
});

/** The environment as C sees it: jest gives its tests a copy of process.env. */
function setSocket(path: string | null): void {
  const c = openAdapter("koffi").bind(env);
  if (path === null) {
    c.unsetenv("XENSIM_SOCKET");
    delete process.env["XENSIM_SOCKET"];
  } else {
    c.setenv("XENSIM_SOCKET", path, 1);
    process.env["XENSIM_SOCKET"] = path;
  }
}

export class SimFixture {
  readonly sim: SimHost;
  readonly xen: NativeXen;
  readonly domid: DomId = domId(SIM_DOMID);
  readonly otherServers = 0;
  readonly #dir = mkdtempSync(join(tmpdir(), "ioreqd-xen-"));
  readonly #workers: Worker[] = [];

  constructor(ffi: FfiAdapter, options: Omit<SimHostOptions, "socketPath"> = {}) {
    const socketPath = join(this.#dir, "xen");
    this.sim = new SimHost({ socketPath, vcpus: 2, memory: 1 << 20, ...options });
    setSocket(socketPath);
    this.xen = new NativeXen(ffi);
  }

  /** What a vCPU's `in` gives, from a thread of its own. Rejects when nobody claims the port. */
  inPort(vcpu: number, port: number, width: 1 | 2 | 4): Promise<number> {
    const code = `
      const { workerData: { file, host, vcpu, port, width }, parentPort } = require("node:worker_threads");
      const addon = require(file);
      const result = addon.access(host, vcpu, 0, false, port, width, 0, 0);
      parentPort.postMessage({ result, value: addon.out[0] });`;
    const worker = new Worker(code, {
      eval: true,
      workerData: { file: SIM_ADDON, host: this.sim.id, vcpu, port, width },
    });
    this.#workers.push(worker);
    return new Promise((resolve, reject) => {
      worker.on("message", ({ result, value }: { result: number; value: number }) =>
        result === 0 ? resolve(value) : reject(new Error(`result ${result}`)),
      );
      worker.on("error", reject);
    });
  }

  async close(): Promise<void> {
    this.xen.close();
    this.sim.stop();
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    this.sim.close();
    setSocket(null);
    rmSync(this.#dir, { recursive: true });
  }
}
