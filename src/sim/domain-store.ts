// SPDX-License-Identifier: MIT
/** What xenstored on a simulated host tells of its one domain. */

import { dirname, join } from "node:path";
import { SIM_DOMID, type SimHost } from "./host.js";
import { SimXenstored } from "./xenstored.js";

const GUEST_NAME = "guest";

export class DomainStore {
  readonly #host: SimHost;
  readonly #store: SimXenstored;
  #toldShutdown = false;

  /** Its socket lies beside the host's. */
  static async start(host: SimHost): Promise<DomainStore> {
    return new DomainStore(host, await SimXenstored.listen(join(dirname(host.socketPath), "xenstored")));
  }

  private constructor(host: SimHost, store: SimXenstored) {
    this.#host = host;
    this.#store = store;
    store.introduce(SIM_DOMID, GUEST_NAME);
  }

  get path(): string {
    return this.#store.path;
  }

  /** As VIRQ_DOM_EXC makes xenstored do: tells once that the domain has shut down or crashed, and once that it ends. */
  look(): void {
    if (this.#host.domainDestroyed) this.#store.release(SIM_DOMID);
    else if (!this.#toldShutdown && this.#host.shutdownCode !== null) {
      this.#toldShutdown = true;
      this.#store.shutDown();
    }
  }

  close(): void {
    this.#store.close();
  }
}
