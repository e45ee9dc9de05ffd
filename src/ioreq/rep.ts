// SPDX-License-Identifier: MIT
/**
 * Requests of several elements, or with their data in guest memory: rep
 * ins/outs/movs/stos. Element i is at data +- i*width in memory; the device
 * address moves likewise for MMIO and stays for a port.
 *
 * Source: Xen arch/x86/hvm/emulate.c, hvmemul_do_io_addr(), hvmemul_rep_stos().
 */

import { DATA_IS_PTR, DIR_READ, DIRECTION_FLAG, TYPE } from "../spec/xen-ioreq.js";
import type { Bus, GuestMemory, PostedRequest } from "./bus.js";
import type { Counters } from "./counters.js";
import type { WideAccess } from "./wide.js";

/** Xen cuts a request at the end of a page: no more than this many elements of one byte. */
const MOST_ELEMENTS = 4096;

export interface RawRequest extends PostedRequest {
  readonly slot: number;
}

/** Has it a width and a count that Xen can send? No other comes to a device. */
export function isPossible({ width, count, type }: PostedRequest): boolean {
  const widths = type === TYPE.pio ? [1, 2, 4] : [1, 2, 4, 8];
  return widths.includes(width) && count >= 1 && count * width <= MOST_ELEMENTS * 2 && count <= MOST_ELEMENTS;
}

const join = (hi: number, lo: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);

export class RepRequest {
  readonly request: RawRequest;
  /** Elements done. */
  done: number;
  /** What goes into the data field: the last value read, or what was there. */
  replyLo: number;
  replyHi: number;
  readonly #isRead: boolean;
  readonly #inMemory: boolean;
  readonly #address: bigint;
  readonly #data: bigint;
  readonly #step: bigint;
  readonly #moves: boolean;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #wide: WideAccess;

  /** `done`: elements that a process before this one did. */
  constructor(request: RawRequest, wide: WideAccess, done: number) {
    this.request = request;
    this.#wide = wide;
    this.done = done;
    this.#isRead = (request.flags & DIR_READ) !== 0;
    this.#inMemory = (request.flags & DATA_IS_PTR) !== 0;
    this.#address = join(request.hi, request.lo);
    this.#data = join(request.dataHi, request.dataLo);
    this.#step = BigInt((request.flags & DIRECTION_FLAG) !== 0 ? -request.width : request.width);
    this.#moves = request.type === TYPE.copy;
    this.#bytes = new Uint8Array(8);
    this.#view = new DataView(this.#bytes.buffer);
    this.replyLo = request.dataLo;
    this.replyHi = request.dataHi;
  }

  /** Go on until the end, or until an element's answer is outstanding. */
  run(bus: Bus, memory: GuestMemory, counters: Counters): void {
    const { count, width, type } = this.request;
    while (this.done < count) {
      const offset = BigInt(this.done) * this.#step;
      const address = BigInt.asUintN(64, this.#moves ? this.#address + offset : this.#address);
      if (this.#isRead) {
        this.#read(bus, type, address, width);
        if (bus.access.outstanding > 0) return;
        this.#deliver(memory, counters);
      } else {
        this.#fetch(memory, counters);
        this.#write(type, address, width);
        if (bus.access.outstanding > 0) return;
      }
      this.#advance(counters);
    }
  }

  /** What is known of the outstanding element already: the bits of registers that answered at once. */
  get known(): { readonly lo: number; readonly hi: number } {
    return { lo: this.#view.getInt32(0, true), hi: this.#view.getInt32(4, true) };
  }

  /** The outstanding element has its answer: the bits to add to those known. */
  resolve(lo: number, hi: number, memory: GuestMemory, counters: Counters): void {
    if (this.#isRead) {
      this.#view.setInt32(0, this.#view.getInt32(0, true) | lo, true);
      this.#view.setInt32(4, this.#view.getInt32(4, true) | hi, true);
      this.#deliver(memory, counters);
    }
    this.#advance(counters);
  }

  #advance(counters: Counters): void {
    this.done += 1;
    counters.repElements += 1;
  }

  #memoryAddress(): bigint {
    return BigInt.asUintN(64, this.#data + BigInt(this.done) * this.#step);
  }

  #read(bus: Bus, type: number, address: bigint, width: number): void {
    const hi = Number(BigInt.asIntN(32, address >> 32n));
    const lo = Number(BigInt.asIntN(32, address));
    if (width < 8) {
      this.#view.setInt32(0, bus.read(type, hi, lo, width), true);
      this.#view.setInt32(4, 0, true);
    } else {
      this.#view.setInt32(0, this.#wide.read(type, hi, lo), true);
      this.#view.setInt32(4, this.#wide.high, true);
    }
  }

  #write(type: number, address: bigint, width: number): void {
    const hi = Number(BigInt.asIntN(32, address >> 32n));
    const lo = Number(BigInt.asIntN(32, address));
    this.#wide.writeAny(type, hi, lo, width, this.#view.getInt32(0, true), this.#view.getInt32(4, true));
  }

  /** The value just read goes to memory, or is the reply. */
  #deliver(memory: GuestMemory, counters: Counters): void {
    const { width } = this.request;
    if (!this.#inMemory) {
      this.#bytes.fill(0, width);
      this.replyLo = this.#view.getInt32(0, true);
      this.replyHi = this.#view.getInt32(4, true);
    } else if (!memory.write(this.#memoryAddress(), this.#bytes.subarray(0, width))) {
      counters.memoryFaults += 1;
    }
  }

  /** The value to write: from memory (all-ones where there is none), or the request's own. */
  #fetch(memory: GuestMemory, counters: Counters): void {
    const { width, dataLo, dataHi } = this.request;
    if (!this.#inMemory) {
      this.#view.setInt32(0, dataLo, true);
      this.#view.setInt32(4, dataHi, true);
    } else if (!memory.read(this.#memoryAddress(), this.#bytes.subarray(0, width))) {
      this.#bytes.fill(0xff);
      counters.memoryFaults += 1;
    }
  }
}
