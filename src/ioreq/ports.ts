// SPDX-License-Identifier: MIT
/** Our ends of the server's event channels: one a vCPU, and one for the buffered ring. */

import { hasCode } from "../base/errors.js";
import type { DomId, EvtchnPort } from "../base/ids.js";
import { sleepThread } from "../base/sleep.js";
import type { EventChannels } from "../xen/host.js";

/** How long a port may stay with a process that has died: Xen hears of its end a moment after we do. */
const PORT_FREE_MS = 1000;

export class Ports {
  readonly #channels: EventChannels;
  readonly #domid: DomId;
  /** How long to wait for one that another process has, in ms. */
  readonly #patience: number;
  readonly #ofVcpu: EvtchnPort[] = [];
  readonly #all = new Set<number>();

  /** `takenOver`: they were another process's before. */
  constructor(channels: EventChannels, domid: DomId, takenOver: boolean) {
    this.#channels = channels;
    this.#domid = domid;
    this.#patience = takenOver ? PORT_FREE_MS : 0;
  }

  /** The next vCPU's, by its port on the domain's side. Throws XEN_PORT_TAKEN when another process goes on having it. */
  bindVcpu(remote: EvtchnPort): void {
    this.#ofVcpu.push(this.#bind(remote));
  }

  /** Throws XEN_PORT_TAKEN. */
  bindRing(remote: EvtchnPort): void {
    this.#bind(remote);
  }

  /** vCPUs that have one. */
  get bound(): number {
    return this.#ofVcpu.length;
  }

  of(vcpu: number): EvtchnPort {
    return this.#ofVcpu[vcpu] as EvtchnPort;
  }

  has(port: EvtchnPort): boolean {
    return this.#all.has(port);
  }

  #bind(remote: EvtchnPort): EvtchnPort {
    const until = performance.now() + this.#patience;
    for (;;) {
      try {
        const port = this.#channels.bindInterdomain(this.#domid, remote);
        this.#all.add(port);
        return port;
      } catch (error) {
        if (!hasCode(error, "XEN_PORT_TAKEN") || performance.now() > until) throw error;
        sleepThread(1);
      }
    }
  }
}
