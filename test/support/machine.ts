// SPDX-License-Identifier: MIT
/**
 * A machine without a hypervisor: the real tree, arena and engine over plain
 * memory, with a host that writes down what it is asked. Tests drive it with
 * requests as Xen would post them.
 */

import { IoreqdError } from "../../src/base/errors.js";
import { formatSbdf, type Sbdf, sbdf } from "../../src/base/ids.js";
import type { GuestMemory } from "../../src/ioreq/bus.js";
import { Counters } from "../../src/ioreq/counters.js";
import { Engine } from "../../src/ioreq/engine.js";
import type { OptionValues, PciDevice } from "../../src/pci/define.js";
import { Hotplug } from "../../src/pci/hotplug.js";
import { planTree } from "../../src/pci/plan.js";
import { Quarantine } from "../../src/pci/quarantine.js";
import type { DeviceRights, PciHost } from "../../src/pci/rights.js";
import { PciTree } from "../../src/pci/tree.js";
import type { HostWindows } from "../../src/pci/windows.js";
import { DIR_READ, IOREQ, PAGE_SIZE, STATE, STATE_MASK, TYPE } from "../../src/spec/xen-ioreq.js";
import { Arena, arenaSize, HOST_RECORD, PHASE, type Reserve } from "../../src/state/arena.js";

/** Where BAR n of function m of the machine is placed by `place()`. */
export const MEMORY = 0xf000_0000;
export const PORTS = 0xc000;

export interface Request {
  type?: number;
  flags?: number;
  state?: number;
  addr: bigint;
  data?: bigint;
  count?: number;
  width?: number;
}

export interface DeviceUnderTest {
  device: PciDevice;
  options?: OptionValues;
  sbdf?: Sbdf;
  id?: string;
  bus?: string;
  sharesSlot?: boolean;
  rom?: Uint8Array;
}

const defaults = (device: PciDevice): OptionValues =>
  Object.fromEntries(Object.entries(device.options ?? {}).map(([key, row]) => [key, row.default]));

export class Machine {
  readonly arena: Arena;
  readonly tree: PciTree;
  readonly hotplug: Hotplug;
  readonly quarantine: Quarantine;
  readonly engine: Engine;
  readonly counters = new Counters();
  /** What the host was asked, in order, as text: "map mmio 0xf0000000-0xf0000fff", "intx 10.A raise". */
  readonly asked: string[] = [];
  /** Ranges that the host still takes: Xen takes 256 of a server. */
  rangesLeft = 256;
  /** What devices said of the guest. */
  readonly said: string[] = [];
  /** What the host is to refuse of what it is asked: the errno, or null. */
  refuse: (what: string) => "EINVAL" | "ENOMEM" | null = () => null;
  /** Functions whose backends were closed. */
  readonly released: string[] = [];
  /** Bytes that devices sent to their chardev. */
  readonly sent: number[] = [];
  /** How often a device asked its chardev for more. */
  polls = 0;
  /** Whether their chardev takes more; and what tells them that it does again. */
  lineReady = true;
  lineIsReady: () => void = () => {};
  /** Guest RAM from address 0. */
  readonly ram = new Uint8Array(0x10_0000);
  readonly notified: number[] = [];
  /** Let the guest's side of a chardev type: as many as there is room for are taken. */
  receive: (bytes: Uint8Array) => number = () => 0;
  readonly page = new ArrayBuffer(PAGE_SIZE);
  readonly #view = new DataView(this.page);

  /** `reserve`: room for devices that come later. `left`: the data area of a machine with the same devices, to go on with. */
  constructor(
    devices: readonly (PciDevice | DeviceUnderTest)[],
    hosts?: readonly HostWindows[],
    reserve?: Reserve,
    left?: Uint8Array,
  ) {
    const requests = devices.map((entry, i) => {
      const one = "device" in entry ? entry : { device: entry };
      return { sbdf: sbdf(0, 0, 0x10 + i, 0), ...one, options: { ...defaults(one.device), ...one.options } };
    });
    const plan = planTree(requests, hosts);
    const { dataLength, layout } = plan;
    this.arena = Arena.create(new ArrayBuffer(arenaSize(dataLength, layout, reserve)), dataLength, layout, reserve);
    if (left !== undefined) this.restore(left);
    this.tree = new PciTree(plan, this.arena);
    const memory: GuestMemory = {
      read: (gpa, target) =>
        this.#ramAt(gpa, target.length, (from) => target.set(this.ram.subarray(from, from + target.length))),
      write: (gpa, source) => this.#ramAt(gpa, source.length, (from) => this.ram.set(source, from)),
      invalidate: () => this.asked.push("invalidate"),
    };
    this.engine = new Engine({
      page: this.page,
      arena: this.arena,
      bus: this.tree,
      memory,
      counters: this.counters,
      publish: (slot) => {
        const at = slot * IOREQ.size + IOREQ.flags;
        this.#view.setUint8(at, (this.#view.getUint8(at) & ~STATE_MASK) | STATE.respReady);
        this.notified.push(slot);
      },
      notify: (slot) => this.notified.push(slot),
      guestEvent: (what) => this.said.push(what),
    });
    const rights = this.#attach(memory, left === undefined);
    this.hotplug = new Hotplug(this.tree, plan.hosts, this.arena, rights);
    this.quarantine = new Quarantine(this.tree, this.arena, rights);
  }

  /** As a process that takes over: tell the hypervisor everything again. */
  reconnect(): void {
    this.tree.connect(this.#host);
    this.tree.flush();
  }

  readonly #host: PciHost = this.#makeHost();

  #makeHost(): PciHost {
    const hexes = (value: number): string => `0x${value.toString(16)}`;
    return {
      refuseTaken: () => {},
      mapFunction: (at) => this.#ask(`claim ${formatSbdf(at)}`),
      unmapFunction: (at) => this.#ask(`give up ${formatSbdf(at)}`),
      mapRange: (space, first, last) => {
        if (this.rangesLeft === 0) throw new Error("no range is left");
        this.#ask(`map ${space} ${hexes(first)}-${hexes(last)}`);
        this.rangesLeft -= 1;
      },
      unmapRange: (space, first, last) => {
        this.#ask(`unmap ${space} ${hexes(first)}-${hexes(last)}`);
        this.rangesLeft += 1;
      },
      mapWindow: (segment, { base, firstBus, buses }) =>
        this.#ask(`window ${segment} at ${hexes(base)} buses ${firstBus}-${firstBus + buses - 1}`),
      unmapWindow: (segment) => this.#ask(`no window ${segment}`),
      setIntx: (device, pin, asserted) =>
        this.#ask(`intx ${device.toString(16)}.${"ABCD"[pin]} ${asserted ? "raise" : "lower"}`),
      sendMessage: (hi, lo, data) => {
        const address = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
        this.#ask(`msi 0x${address.toString(16)} ${hexes(data >>> 0)}`);
      },
      noticed: (what, fields) => this.said.push(`${what}: ${Object.values(fields).join(" ")}`),
      refused: (what, error) => this.said.push(`${what}: ${String(error)}`),
    };
  }

  #ask(what: string): void {
    const errno = this.refuse(what);
    if (errno !== null) throw new IoreqdError("XEN_CALL_FAILED", `${what}: ${errno} by the test`, { errno });
    this.asked.push(what);
  }

  #attach(memory: GuestMemory, isNew: boolean): DeviceRights {
    const lineReady = (): boolean => this.lineReady;
    const rights: DeviceRights = {
      dma: (fn) => ({
        read: (gpa, target) => fn.busMaster && memory.read(BigInt(gpa), target),
        write: (gpa, source) => fn.busMaster && memory.write(BigInt(gpa), source),
      }),
      log: () => ({ info: () => {}, debug: () => {}, guest: (what) => this.said.push(what) }),
      host: (work, subject) => this.engine.host(work, subject),
      chardev: () => ({
        write: (byte) => this.sent.push(byte),
        get ready() {
          return lineReady();
        },
        onReady: (handler) => {
          this.lineIsReady = () => {
            this.lineReady = true;
            this.engine.host(handler);
          };
        },
        onReceive: (room, take) => {
          this.receive = (bytes) => {
            const count = Math.min(room(), bytes.length);
            this.engine.host(() => {
              for (const byte of bytes.subarray(0, count)) take(byte);
            });
            return count;
          };
        },
        poll: () => {
          this.polls += 1;
        },
      }),
      replace: () => ({ keep: () => {}, undo: () => {} }),
      release: (fn) => this.released.push(fn.label),
    };
    this.tree.connect(this.#host);
    this.arena.beginHost();
    if (isNew) this.tree.reset();
    this.tree.attach(rights);
    this.arena.commit(PHASE.committed, 0, 0);
    this.arena.release(HOST_RECORD);
    this.tree.flush();
    this.asked.length = 0; // the claims of its functions
    return rights;
  }

  #ramAt(gpa: bigint, length: number, act: (from: number) => void): boolean {
    if (gpa < 0n || gpa + BigInt(length) > BigInt(this.ram.length)) return false;
    act(Number(gpa));
    return true;
  }

  /** Post a request into a slot and serve it. Returns the data field: the reply. */
  post(request: Request, slot = 0): bigint {
    const at = slot * IOREQ.size;
    const view = this.#view;
    view.setBigUint64(at + IOREQ.addr, BigInt.asUintN(64, request.addr), true);
    view.setBigUint64(at + IOREQ.data, BigInt.asUintN(64, request.data ?? 0n), true);
    view.setUint32(at + IOREQ.count, request.count ?? 1, true);
    view.setUint32(at + IOREQ.width, request.width ?? 4, true);
    view.setUint8(at + IOREQ.type, request.type ?? TYPE.copy);
    view.setUint8(at + IOREQ.flags, (request.flags ?? 0) | (request.state ?? STATE.ready));
    this.engine.serve(slot);
    return view.getBigUint64(at + IOREQ.data, true);
  }

  /** The data field of a slot: its last reply. */
  answer(slot: number): bigint {
    return this.#view.getBigUint64(slot * IOREQ.size + IOREQ.data, true);
  }

  state(slot = 0): number {
    return this.#view.getUint8(slot * IOREQ.size + IOREQ.flags) & STATE_MASK;
  }

  read(addr: number, width = 4, type: number = TYPE.copy): number {
    return Number(this.post({ type, flags: DIR_READ, addr: BigInt(addr), width }));
  }

  write(addr: number, value: number, width = 4, type: number = TYPE.copy): void {
    this.post({ type, addr: BigInt(addr), data: BigInt(value >>> 0), width });
  }

  in(port: number, width = 1): number {
    return this.read(port, width, TYPE.pio);
  }

  out(port: number, value: number, width = 1): void {
    this.write(port, value, width, TYPE.pio);
  }

  configAddress(fn: number, offset: number): bigint {
    const at = this.tree.functions[fn]?.sbdf ?? 0;
    return (BigInt(at) << 32n) | BigInt(offset);
  }

  configRead(fn: number, offset: number, width = 4): number {
    return Number(this.post({ type: TYPE.pciConfig, flags: DIR_READ, addr: this.configAddress(fn, offset), width }));
  }

  configWrite(fn: number, offset: number, value: number, width = 4): void {
    this.post({ type: TYPE.pciConfig, addr: this.configAddress(fn, offset), data: BigInt(value >>> 0), width });
  }

  /** Give every BAR of a function an address (BAR n at MEMORY + n MiB*16, ports at PORTS + n*256) and switch it on. */
  place(fn = 0): void {
    const bars = (this.configRead(fn, 0x0e, 1) & 0x7f) === 0 ? [0, 1, 2, 3, 4, 5] : [0, 1];
    for (const index of bars) {
      const low = this.configRead(fn, 0x10 + index * 4);
      if ((low & 1) === 1) this.configWrite(fn, 0x10 + index * 4, PORTS + fn * 0x1000 + index * 0x100);
      else this.configWrite(fn, 0x10 + index * 4, MEMORY + fn * 0x0800_0000 + index * 0x0100_0000);
    }
    this.configWrite(fn, 0x04, 0x0007, 2);
    this.asked.length = 0;
  }

  /** The data area: registers, fields, timers, lines. */
  data(): Uint8Array {
    return this.arena.u8.slice(this.arena.dataAt, this.arena.dataAt + this.arena.dataLength);
  }

  /** Put a data area back, as a process that takes over would find it. */
  restore(data: Uint8Array): void {
    this.arena.u8.set(data, this.arena.dataAt);
  }

  end(): void {
    this.tree.detach();
  }
}
