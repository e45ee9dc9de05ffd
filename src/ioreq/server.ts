// SPDX-License-Identifier: MIT
/**
 * An ioreq server's life: create, write its id down, map its pages, let the bus
 * claim what is its own, enable, bind, serve; and back again, with no vCPU left waiting.
 *
 * The id is in the state file before the server is enabled, because Xen has no
 * call that lists servers: a process that takes over reads it there, maps the
 * same pages, binds the same channels, and finishes what the slots say. When
 * slots are looked at in between is in serve-loop.ts.
 */

import { hasCode, hasErrno, IoreqdError } from "../base/errors.js";
import type { DomId, EvtchnPort, IoservId } from "../base/ids.js";
import { sleepThread } from "../base/sleep.js";
import { Teardown } from "../base/teardown.js";
import { BUFIOREQ, MAX_VCPUS } from "../spec/xen-ioreq.js";
import { type Arena, SERVER_STATE } from "../state/arena.js";
import type { BufioreqMode, EventChannels, IoreqPages, XenHost } from "../xen/host.js";
import type { Bus, GuestEvent, GuestMemory } from "./bus.js";
import { Counters } from "./counters.js";
import { Engine } from "./engine.js";
import { LeftRequests } from "./left-requests.js";
import type { PollingOptions } from "./polling.js";
import { Ports } from "./ports.js";
import { BufferedRing } from "./ring.js";
import { ServeLoop } from "./serve-loop.js";
import { Slots } from "./slots.js";

/** With a domain Xen ends its ioreq servers, before the domain itself has gone and while its pages are in use: then ENOENT says so. */
export const isServerGone = (error: unknown): boolean => hasCode(error, "XEN_DOMAIN_GONE") || hasErrno(error, "ENOENT");

/** From the last answer on. A vCPU that the host's scheduler keeps from running is slower than one that is interrupted. */
const TAKEN_WITHIN_MS = 1000;

export interface ServerOptions {
  readonly domid: DomId;
  readonly bufioreq: BufioreqMode;
  readonly polling: PollingOptions;
}

export interface ServerParts {
  readonly xen: XenHost;
  readonly arena: Arena;
  readonly bus: Bus;
  readonly memory: GuestMemory;
  readonly guestEvent: GuestEvent;
  /** A state change worth a line in the log. */
  readonly changed: (what: string, fields: Record<string, unknown>) => void;
  /** Watch the transactions of requests from now on; returns what ends that. */
  readonly watch: () => () => void;
  /** The event channels are lost: the domain, or the simulated host, is gone. */
  readonly lost: (error: Error) => void;
}

export class IoreqServer {
  readonly counters = new Counters();
  readonly id: IoservId;
  readonly vcpus: number;
  readonly engine: Engine;
  readonly #options: ServerOptions;
  readonly #parts: ServerParts;
  readonly #down = new Teardown();
  readonly #pages: IoreqPages;
  readonly #slots: Slots;
  readonly #ring: BufferedRing | null;
  readonly #channels: EventChannels;
  readonly #publish: (slot: number, port: EvtchnPort) => number;
  readonly #ports: Ports;
  readonly #loop: ServeLoop;
  /** This server was another process's before. */
  readonly takenOver: boolean;
  /** Another process is to go on with it. */
  #leaving = false;

  /**
   * Create the server, or take over the one that the arena names; and map its pages. Nothing is served yet.
   * Throws what XenHost throws, with everything undone that was done here.
   */
  constructor(options: ServerOptions, parts: ServerParts) {
    const { xen, arena } = parts;
    const { domid } = options;
    this.#options = options;
    this.#parts = parts;
    try {
      this.vcpus = xen.nrVcpus(domid);
      if (this.vcpus > MAX_VCPUS) {
        throw new IoreqdError(
          "TOO_MANY_VCPUS",
          `domain ${domid} has ${this.vcpus} vCPUs; one ioreq page serves ${MAX_VCPUS}`,
          { domid },
        );
      }
      this.takenOver = arena.header("serverState") !== SERVER_STATE.none;
      this.#leaving = this.takenOver;
      this.id = this.takenOver ? this.#known() : this.#create();
      const ring = arena.header("bufioreqMode") !== BUFIOREQ.off;
      this.#pages = xen.mapIoreqPages(domid, this.id, { ring, vcpus: this.vcpus });
      this.#down.defer("unmap the ioreq pages", () => this.#pages.unmap());
      this.#slots = new Slots(this.#pages.ioreq);
      this.#ring = this.#pages.ring === null ? null : new BufferedRing(this.#pages.ring);
      this.#channels = xen.openEventChannels();
      this.#down.defer("close the event channels", () => this.#channels.close());
      this.#publish = this.#channels.publisher(this.#pages.ioreq);
      this.#ports = new Ports(this.#channels, domid, this.takenOver);
      this.engine = new Engine({
        page: this.#pages.ioreq,
        arena,
        bus: parts.bus,
        memory: parts.memory,
        counters: this.counters,
        publish: (slot) => this.#answer(slot),
        notify: (slot) => this.#channels.notify(this.#ports.of(slot)),
        guestEvent: parts.guestEvent,
      });
      this.#loop = new ServeLoop({
        engine: this.engine,
        ring: this.#ring,
        channels: this.#channels,
        ports: this.#ports,
        counters: this.counters,
        vcpus: this.vcpus,
        polling: options.polling,
      });
      if (this.takenOver) this.#resumeRing();
      const how = this.takenOver ? "ioreq server taken over" : "ioreq server created";
      parts.changed(how, { server: this.id, vcpus: this.vcpus, ring });
    } catch (error) {
      this.#undo();
      throw error;
    }
  }

  #create(): IoservId {
    const { xen, arena } = this.#parts;
    const { domid, bufioreq } = this.#options;
    // In this order on the way back: the id is forgotten only when the server is gone.
    this.#onEnd("forget the server's id", () => arena.setHeader("serverState", SERVER_STATE.none));
    const id = xen.createIoreqServer(domid, bufioreq);
    arena.setHeader("ioservid", id);
    arena.setHeader("bufioreqMode", BUFIOREQ[bufioreq]);
    arena.setHeader("serverState", SERVER_STATE.created);
    this.#onEnd("destroy the ioreq server", () => xen.destroyIoreqServer(domid, id));
    return id;
  }

  /** The server that the arena names. */
  #known(): IoservId {
    const { xen, arena } = this.#parts;
    const id = arena.header("ioservid") as IoservId;
    this.#onEnd("forget the server's id", () => arena.setHeader("serverState", SERVER_STATE.none));
    this.#onEnd("destroy the ioreq server", () => xen.destroyIoreqServer(this.#options.domid, id));
    return id;
  }

  /** What only the end of the server undoes, not that of a process which leaves it to the next. */
  #onEnd(what: string, undo: () => void): void {
    this.#down.defer(what, () => {
      if (!this.#leaving) undo();
    });
  }

  /**
   * Let the bus claim what is decoded, enable, bind, finish what a process before this one left, and serve from now on.
   * Throws with everything undone; a server that was taken over stays as it is, for the next process.
   */
  start(): void {
    const { xen, arena, changed } = this.#parts;
    const { domid } = this.#options;
    try {
      // Functions, and ranges that are decoded from the start, before anyone can ask.
      this.#parts.bus.flush();
      // Written down first: once a guest may have seen it, there is something to take over.
      arena.setHeader("serverState", SERVER_STATE.enabled);
      xen.setIoreqServerState(domid, this.id, true);
      this.#onEnd("disable the ioreq server", () => this.#disable());
      // Only now do the slots name their event channels. A request that was posted meanwhile raised an
      // event nobody heard, and binding raises one again.
      for (let vcpu = 0; vcpu < this.vcpus; vcpu += 1) this.#ports.bindVcpu(this.#slots.evtchn(vcpu) as EvtchnPort);
      const ringPort = this.#ring === null ? null : xen.bufioreqPort(domid, this.id);
      if (ringPort !== null) this.#ports.bindRing(ringPort);
      this.#down.defer("end the watchdog", this.#parts.watch());
      if (this.takenOver) this.#resume();
      this.#loop.start((error) => this.#parts.lost(error));
      this.#down.defer("stop polling", () => this.#loop.stop());
      this.#leaving = false;
      changed("ioreq server enabled", { server: this.id });
    } catch (error) {
      this.#undo();
      throw error;
    }
  }

  /**
   * Stop: answer every pending request, disable, answer what came in between,
   * destroy. A vCPU that waits in a destroyed server waits for ever.
   */
  stop(): void {
    if (this.#leaving) {
      this.#undo();
      return;
    }
    this.#loop.pause();
    if (this.#loop.started) this.#loop.drain();
    this.#undo();
    this.#parts.memory.invalidate();
    this.#parts.changed("ioreq server destroyed", { server: this.id });
  }

  /** Let go without a word to the guest, whose requests wait for the process that takes over. */
  leave(): void {
    this.#leaving = true;
    this.#loop.pause();
    this.#undo();
    this.#parts.memory.invalidate();
    this.#parts.changed("ioreq server left to the next process", { server: this.id });
  }

  /** Requests that a process before this one began to serve, until start(). */
  get left(): LeftRequests {
    return new LeftRequests(this.#pages);
  }

  /** Step over what the process before this one applied: before other work takes the record that says so. */
  #resumeRing(): void {
    const { hostWork } = this.engine;
    if (this.#ring?.resume((at) => hostWork.wasApplied(at)) === true) hostWork.advanced();
  }

  /** Finish what the process before this one left in the slots. */
  #resume(): void {
    for (let vcpu = 0; vcpu < this.vcpus; vcpu += 1) {
      const how = this.engine.resume(vcpu);
      if (how !== null) this.#parts.changed("request of before", { vcpu, how });
    }
  }

  /** Apply what stands in the buffered ring: writes that nobody waits for. */
  applyRing(): void {
    this.#loop.drainRing();
  }

  #answer(slot: number): void {
    if (this.#publish(slot, this.#ports.of(slot)) !== 0) this.counters.notifyErrors += 1;
  }

  #disable(): void {
    this.#parts.xen.setIoreqServerState(this.#options.domid, this.id, false);
    if (this.#ports.bound !== this.vcpus) return;
    // What was sent before the server was disabled still wants its answer.
    this.#loop.drain();
    this.#untilTaken();
  }

  /**
   * A vCPU takes its answer when it runs again; where its server has gone by then it goes on with what it sent, and a read
   * reads zero. So none is left behind, but nobody waits for ever: a paused vCPU does not run.
   * Source: Xen common/ioreq.c, vcpu_ioreq_handle_completion().
   */
  #untilTaken(): void {
    const isTaken = (): boolean => {
      for (let vcpu = 0; vcpu < this.vcpus; vcpu += 1) if (this.#slots.isAnswered(vcpu)) return false;
      return true;
    };
    const until = performance.now() + TAKEN_WITHIN_MS;
    while (!isTaken() && performance.now() < until) sleepThread(1);
  }

  #undo(): void {
    this.#down.close((what, error) => {
      if (!isServerGone(error)) this.#parts.guestEvent(`teardown step failed: ${what}`, { error: String(error) });
    });
  }
}
