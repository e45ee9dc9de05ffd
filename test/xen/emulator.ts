// SPDX-License-Identifier: MIT
/** Both ends of an access: a guest that makes it, and the least of an ioreq server, which keeps what it was asked. */

import { join } from "node:path";
import type { EvtchnPort, IoservId } from "../../src/base/ids.js";
import { GuestRun, type SimHost } from "../../src/sim/index.js";
import { DIR_READ, IOREQ, STATE, STATE_MASK, WORD } from "../../src/spec/xen-ioreq.js";
import type { EventPoller } from "../../src/xen/host.js";
import type { XenFixture } from "./fixture.js";

/** The program access-guest.ts. */
export const ACCESS_GUEST = join(__dirname, "access-guest.js");

/** What vCPU 0 gets for each access, as access-guest.ts takes them; null for a write. */
export async function accesses(sim: SimHost, ...words: string[]): Promise<unknown[]> {
  const values: unknown[] = [];
  const run = new GuestRun(sim, {
    program: ACCESS_GUEST,
    arguments: ["access", ...words],
    onReport: ({ detail }) => values.push(detail["value"]),
  });
  await run.loaded;
  sim.unpause();
  run.begin();
  expect(await run.done).toMatchObject({ ok: true });
  return values;
}

export interface SeenRequest {
  readonly type: number;
  readonly addr: bigint;
  readonly width: number;
  readonly count: number;
  /** What is written; null for a read. */
  readonly written: bigint | null;
}

export class Emulator {
  readonly id: IoservId;
  /** Since the last take(). */
  #seen: SeenRequest[] = [];
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #answer: bigint;
  readonly #poller: EventPoller;

  /** An enabled server that answers every read with the low bytes of `answer`. */
  constructor({ xen, domid }: Pick<XenFixture, "xen" | "domid">, answer: bigint) {
    this.id = xen.createIoreqServer(domid, "off");
    this.#answer = answer;
    const vcpus = xen.nrVcpus(domid);
    const { ioreq } = xen.mapIoreqPages(domid, this.id, { ring: false, vcpus });
    this.#words = new Uint32Array(ioreq);
    this.#bytes = new Uint8Array(ioreq);
    this.#view = new DataView(ioreq);
    xen.setIoreqServerState(domid, this.id, true);
    const channels = xen.openEventChannels();
    const ports = Array.from({ length: vcpus }, (_, vcpu) =>
      channels.bindInterdomain(domid, this.#words[vcpu * WORD.perSlot + WORD.evtchn] as EvtchnPort),
    );
    const publish = channels.publisher(ioreq);
    this.#poller = channels.poll(
      () => {
        for (const port of this.#poller.ports.subarray(0, this.#poller.drain())) {
          channels.unmask(port as EvtchnPort);
          const vcpu = ports.indexOf(port as EvtchnPort);
          if (this.#serve(vcpu)) publish(vcpu, port as EvtchnPort);
        }
      },
      () => {}, // the host ends with the test
    );
  }

  /** What was asked since the last call. */
  take(): SeenRequest[] {
    return this.#seen.splice(0);
  }

  #serve(vcpu: number): boolean {
    const slot = vcpu * IOREQ.size;
    const flags = this.#bytes[slot + IOREQ.flags] as number;
    if ((flags & STATE_MASK) !== STATE.ready) return false;
    Atomics.store(this.#bytes, slot + IOREQ.flags, (flags & ~STATE_MASK) | STATE.inProcess);
    const isRead = (flags & DIR_READ) !== 0;
    this.#seen.push({
      type: this.#bytes[slot + IOREQ.type] as number,
      addr: this.#view.getBigUint64(slot + IOREQ.addr, true),
      width: this.#view.getUint32(slot + IOREQ.width, true),
      count: this.#view.getUint32(slot + IOREQ.count, true),
      written: isRead ? null : this.#view.getBigUint64(slot + IOREQ.data, true),
    });
    if (isRead) this.#view.setBigUint64(slot + IOREQ.data, this.#answer, true);
    return true;
  }
}
