// SPDX-License-Identifier: MIT
/**
 * What an input acts on: the real engine, ring, tree, devices and arena, over plain memory; the shared pages as a
 * hostile peer would write them; a hypervisor that checks what it is asked (checked-host.ts).
 */

import { blame, DEFAULT_DEATHS } from "../src/cli/blame.js";
import { Counters } from "../src/ioreq/counters.js";
import { Engine } from "../src/ioreq/engine.js";
import { LeftRequests } from "../src/ioreq/left-requests.js";
import { BufferedRing } from "../src/ioreq/ring.js";
import { AccessLog } from "../src/observe/access-log.js";
import { GuestEvents } from "../src/observe/guest-events.js";
import type { Logger } from "../src/observe/log.js";
import type { PciFunction } from "../src/pci/function.js";
import { Hotplug } from "../src/pci/hotplug.js";
import { planTree, type TreePlan } from "../src/pci/plan.js";
import { Quarantine } from "../src/pci/quarantine.js";
import type { DeviceRights } from "../src/pci/rights.js";
import { PciTree } from "../src/pci/tree.js";
import { IOREQ, MAX_VCPUS, PAGE_SIZE, STATE, STATE_MASK } from "../src/spec/xen-ioreq.js";
import { Arena, arenaSize } from "../src/state/arena.js";
import { CheckedHost } from "./checked-host.js";
import type { VirtualClock } from "./clock.js";
import { must } from "./failure.js";
import { GuestRam } from "./guest-ram.js";
import { THROWN } from "./probe.js";
import type { Topology } from "./topologies.js";

/** Room for devices that are put in while an input runs. Bytes. */
const RESERVE = { data: 1 << 16, layout: 1 << 17 };

/** The other end of a chardev. */
export interface Peer {
  /** How many bytes the device takes now, of those offered. */
  offer(bytes: Uint8Array): number;
}

/** What outlives a process: its state file, guest memory, and what the hypervisor has. */
export interface Inheritance {
  readonly arena: Arena;
  readonly page: ArrayBuffer;
  readonly ram: GuestRam;
  readonly host: CheckedHost;
  /** Of the buffered ring; an empty one unless told. */
  readonly ringPage?: ArrayBuffer;
  /** What Arena.recover() returned: who died in what is to be found out, as a process that takes over does. */
  readonly died?: number;
}

export class World {
  readonly plan: TreePlan;
  readonly page: ArrayBuffer;
  readonly ringPage: ArrayBuffer;
  readonly slots: Uint8Array;
  readonly ring: BufferedRing;
  readonly ram: GuestRam;
  readonly arena: Arena;
  readonly tree: PciTree;
  readonly engine: Engine;
  readonly hotplug: Hotplug;
  readonly host: CheckedHost;
  readonly counters = new Counters();
  readonly events: GuestEvents;
  readonly peers = new Map<PciFunction, Peer>();
  /** Lines of the log, and their characters, as an operator would have them. */
  lines = 0;
  longestLine = 0;
  /** What handlers threw that was not what probe.ts throws. */
  readonly faults: string[] = [];
  /** Devices were put in or taken out: places in the arena are no longer those of the plan. */
  replanned = false;
  /** Called wherever a peer on another processor could be doing something: the page may change there. */
  meanwhile: () => void = () => {};

  /** A new machine; or, with `before`, the one that a process which died left behind. */
  constructor(
    readonly topology: Topology,
    readonly clock: VirtualClock,
    before: Inheritance | null = null,
  ) {
    this.plan = planTree(topology.devices, topology.hosts);
    const { dataLength, layout } = this.plan;
    this.arena =
      before?.arena ??
      Arena.create(new ArrayBuffer(arenaSize(dataLength, layout, RESERVE)), dataLength, layout, RESERVE);
    this.page = before?.page ?? new ArrayBuffer(PAGE_SIZE);
    this.ram = before?.ram ?? new GuestRam();
    this.ram.touch = () => this.meanwhile();
    this.slots = new Uint8Array(this.page);
    this.ringPage = before?.ringPage ?? new ArrayBuffer(PAGE_SIZE);
    this.ring = new BufferedRing(this.ringPage);
    const log = this.#log();
    this.events = new GuestEvents(log, () => clock.now);
    const note = (what: string, fields: Record<string, unknown> = {}): void => this.events.note("", what, fields);
    this.host = new CheckedHost(note, () => this.meanwhile());
    if (before !== null) this.host.inherit(before.host);
    this.host.lenient = before?.host.lenient ?? false;
    this.tree = new PciTree(this.plan, this.arena);
    this.engine = new Engine({
      page: this.page,
      arena: this.arena,
      bus: this.tree,
      memory: this.ram,
      counters: this.counters,
      publish: (slot) => this.#publish(slot),
      notify: () => {},
      guestEvent: (what, fields) => {
        if (what === "device handler failed" && fields["error"] !== THROWN) this.faults.push(String(fields["stack"]));
        note(what, fields);
      },
    });
    this.engine.observer = this.#observer(log);
    this.hotplug = new Hotplug(this.tree, this.plan.hosts, this.arena, this.#rights());
    if (before?.died !== undefined) this.#takeOver(before.died, log);
    this.tree.connect(this.host);
    this.arena.transact(() => {
      if (before === null) this.tree.reset();
      this.tree.attach(this.#rights());
    });
    this.tree.flush();
  }

  /** What comes first in a process that takes over: what the ring says, and who is to blame. */
  #takeOver(died: number, log: Logger): void {
    const { arena, tree, engine, page, ringPage } = this;
    if (this.ring.resume((at) => engine.hostWork.wasApplied(at))) engine.hostWork.advanced();
    const left = new LeftRequests({ ioreq: page, ring: ringPage, unmap: () => {} });
    const quarantine = new Quarantine(tree, arena, this.#rights());
    blame(died, { arena, tree, server: { vcpus: MAX_VCPUS, left }, quarantine, most: DEFAULT_DEATHS, log });
  }

  /** The data area as it is now. */
  data(): Uint8Array {
    return this.arena.u8.slice(this.arena.dataAt, this.arena.dataAt + this.arena.dataLength);
  }

  state(slot: number): number {
    return (this.slots[slot * IOREQ.size + IOREQ.flags] as number) & STATE_MASK;
  }

  setState(slot: number, state: number): void {
    const at = slot * IOREQ.size + IOREQ.flags;
    this.slots[at] = ((this.slots[at] as number) & ~STATE_MASK) | state;
  }

  /** Slots in this state. */
  slotsIn(state: number): number[] {
    return Array.from({ length: MAX_VCPUS }, (_, slot) => slot).filter((slot) => this.state(slot) === state);
  }

  /** As IoreqServer does on an event: the ring first, then each slot that is ready. */
  serveAll(): void {
    this.drainRing();
    for (let slot = 0; slot < MAX_VCPUS; slot += 1) this.engine.serve(slot);
  }

  drainRing(): void {
    this.ring.drain(this.engine.hostWork);
  }

  /** Nobody may be answered who doesn't wait: it would be another request's answer. */
  #publish(slot: number): void {
    must(this.state(slot) === STATE.inProcess, () => `slot ${slot} is answered in state ${this.state(slot)}`);
    this.setState(slot, STATE.respReady);
  }

  #rights(): DeviceRights {
    return {
      dma: (fn) => ({
        read: (gpa, target) => fn.busMaster && this.ram.read(BigInt(gpa), target),
        write: (gpa, source) => fn.busMaster && this.ram.write(BigInt(gpa), source),
      }),
      log: (fn) => ({
        info: () => {},
        debug: () => {},
        guest: (what, fields) => this.events.note(fn.label, what, fields),
      }),
      host: (work) => this.engine.host(work),
      chardev: (fn) => ({
        ready: true,
        onReady: () => {},
        write: (byte) => must(byte === (byte & 0xff), () => `${fn.label} sends ${byte}, which is no byte`),
        onReceive: (room, take) => {
          this.peers.set(fn, { offer: (bytes) => this.#offer(room, take, bytes) });
        },
        poll: () => {},
      }),
      replace: () => ({ keep: () => {}, undo: () => {} }),
      release: (fn) => {
        this.peers.delete(fn);
      },
    };
  }

  #offer(room: () => number, take: (byte: number) => void, bytes: Uint8Array): number {
    const count = Math.min(room(), bytes.length);
    this.engine.host(() => {
      for (const byte of bytes.subarray(0, count)) take(byte);
    });
    return count;
  }

  /** What matters of a log is how much there is of it. */
  #log(): Logger {
    const line = (fields: object, text: string): void => {
      this.lines += 1;
      this.longestLine = Math.max(this.longestLine, JSON.stringify(fields).length + text.length);
    };
    return {
      warn: line,
      error: line,
      info: line,
      trace: (fields: object) => this.#traced(fields),
    } as unknown as Logger;
  }

  /** -vv: a line for each access is what was asked for, but not one of any length. */
  #traced(fields: object): void {
    this.longestLine = Math.max(this.longestLine, JSON.stringify(fields).length);
  }

  #observer(log: Logger): Engine["observer"] {
    const trace = new AccessLog(log, this.tree, true);
    return {
      begin: (...access) => {
        trace.begin(...access);
        this.meanwhile();
      },
      end: (...answer) => trace.end(...answer),
    };
  }
}
