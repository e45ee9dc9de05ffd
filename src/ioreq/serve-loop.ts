// SPDX-License-Identifier: MIT
/**
 * When to look at the slots and the ring: after an event, and while the guest
 * is busy again and again. See docs/architecture.md, "The path of an access".
 */

import type { EvtchnPort } from "../base/ids.js";
import type { EventChannels, EventPoller } from "../xen/host.js";
import type { Counters } from "./counters.js";
import type { Engine } from "./engine.js";
import { AdaptivePolling, type PollingOptions } from "./polling.js";
import type { Ports } from "./ports.js";
import type { BufferedRing } from "./ring.js";

/**
 * After an event, the next is waited for close by and not in the loop, where a wake-up costs three system calls more;
 * whole milliseconds. The loop gets its turn when it has something to do, and otherwise after so many rounds, so
 * that what handlers left to promises waits for 16 ms at most.
 */
const SLEEP_CLOSE_MS = 1;
const ROUNDS_BEFORE_LOOP = 16;

export interface ServeLoopParts {
  readonly engine: Engine;
  readonly ring: BufferedRing | null;
  readonly channels: EventChannels;
  readonly ports: Ports;
  readonly counters: Counters;
  readonly vcpus: number;
  readonly polling: PollingOptions;
}

export class ServeLoop {
  readonly #engine: Engine;
  readonly #ring: BufferedRing | null;
  readonly #channels: EventChannels;
  readonly #ports: Ports;
  readonly #counters: Counters;
  readonly #vcpus: number;
  readonly #polling: AdaptivePolling;
  /** Ports that raised an event and are not unmasked yet. */
  #masked: EvtchnPort[] = [];
  #poller: EventPoller | null = null;
  #again: NodeJS.Immediate | null = null;

  constructor(parts: ServeLoopParts) {
    this.#engine = parts.engine;
    this.#ring = parts.ring;
    this.#channels = parts.channels;
    this.#ports = parts.ports;
    this.#counters = parts.counters;
    this.#vcpus = parts.vcpus;
    this.#polling = new AdaptivePolling(parts.polling, parts.vcpus);
  }

  /** Serve from now on. `lost`: the event channels are; nothing is served any more. */
  start(lost: (error: Error) => void): void {
    this.#poller = this.#channels.poll(() => this.#onEvents(), lost);
  }

  get started(): boolean {
    return this.#poller !== null;
  }

  /** No turn of polling is due any more. */
  pause(): void {
    if (this.#again !== null) clearImmediate(this.#again);
    this.#again = null;
  }

  stop(): void {
    this.#poller?.stop();
  }

  /** Answer everything there is: what is ready, and what a device meant to answer later. */
  drain(): void {
    this.#lookAround();
    this.#engine.abandonLate();
    for (let vcpu = 0; vcpu < this.#vcpus; vcpu += 1) this.#engine.serve(vcpu);
  }

  /**
   * What woke us is answered first, by looking at the slots; which ports it was is found out while the
   * guest goes on already. Then stay close for as long as the guest is busy.
   */
  #onEvents(): void {
    const poller = this.#poller as EventPoller;
    this.#polling.woken();
    for (let round = 1; ; round += 1) {
      if (!this.#lookAround()) this.#counters.spurious += 1;
      this.#takeEvents(poller);
      // While a turn of polling is due, its own turn will do the rest.
      if (this.#again !== null || this.#poll()) return;
      if (round === ROUNDS_BEFORE_LOOP || !poller.sleep(SLEEP_CLOSE_MS)) return;
    }
  }

  #takeEvents(poller: EventPoller): void {
    const count = poller.drain();
    this.#counters.events += count;
    for (let i = 0; i < count; i += 1) {
      const port = poller.ports[i] as EvtchnPort;
      if (!this.#ports.has(port)) this.#counters.unknownPorts += 1;
      this.#masked.push(port);
    }
  }

  /** Serve for as long as it pays, then let events come again. Returns whether a further turn is due instead. */
  #poll(): boolean {
    this.#again = null;
    if (this.#polling.run(this.#servePolled)) {
      this.#again = setImmediate(() => this.#poll());
      return true;
    }
    this.#unmask();
    return false;
  }

  readonly #servePolled = (): boolean => {
    const found = this.#lookAround();
    if (found) this.#counters.polled += 1;
    return found;
  };

  /** Unmask, then look once more: that order loses no request. */
  #unmask(): void {
    const masked = this.#masked;
    this.#masked = [];
    for (const port of masked) this.#channels.unmask(port);
    this.#lookAround();
  }

  /**
   * Serve whatever is ready. What a guest wrote into the ring before it asked must be applied before it is
   * answered: so the ring is looked at once a request has been seen, not earlier.
   */
  #lookAround(): boolean {
    let found = this.drainRing();
    for (let vcpu = 0; vcpu < this.#vcpus; vcpu += 1) {
      if (!this.#engine.isReady(vcpu)) continue;
      this.drainRing();
      if (this.#engine.serve(vcpu)) found = true;
    }
    return found;
  }

  /** Apply what stands in the buffered ring, writes that nobody waits for. Returns whether there was anything. */
  drainRing(): boolean {
    const ring = this.#ring;
    if (ring === null || ring.empty) return false;
    return ring.drain(this.#engine.hostWork) > 0;
  }
}
