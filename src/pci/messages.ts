// SPDX-License-Identifier: MIT
/**
 * Messages a function sends as interrupts: MSI and MSI-X.
 *
 * A message that was asked for is a pending bit in the arena, and stays one
 * until the hypervisor has taken it. So there is one rule for all of it:
 * after every commit, what is pending and may go, goes, once. A handler that
 * is undone has sent nothing; what a dead process did not send its successor
 * does; what the guest masks waits where the guest can see it.
 *
 * Source: PCI 3.0 6.8.
 */

import type { RegisterBlock } from "../bus/block.js";
import { MSI, MSIX } from "../spec/pci.js";
import type { Arena } from "../state/arena.js";
import { msixName } from "./capabilities/interrupts.js";
import type { MsiShape, MsixShape, PlacedCapability } from "./capability.js";
import type { Msi, Sending } from "./define.js";

/** Send: 64-bit address in two int32 halves, data as int32. False: not now, it is to wait. */
export type SendMessage = (addressHi: number, addressLo: number, data: number) => boolean;

/** Hidden pending bits of an MSI capability that has none of its own, in bytes. */
export const MESSAGE_STATE_BYTES = 4;

interface Mechanism {
  readonly enabled: boolean;
  readonly vectors: number;
  /** Which message carries this vector, or -1. */
  message(vector: number): number;
  isPending(message: number): boolean;
  setPending(message: number): void;
  isMasked(message: number): boolean;
  /** Messages that wait. */
  count(): number;
  /** Send what is pending and not masked. */
  deliver(send: SendMessage): void;
}

/** The two mechanisms of a function, of which the guest enables one at most. */
export class Messages implements Msi {
  readonly #mechanisms: readonly Mechanism[];
  readonly #mayGo: () => boolean;
  readonly #changed: () => void;

  /**
   * `state`: offset of MESSAGE_STATE_BYTES in the arena's file. `mayGo`: is the function a bus master now? `changed` is
   * called whenever there may be something to deliver.
   */
  constructor(
    placed: readonly PlacedCapability[],
    config: RegisterBlock,
    bar: (index: number) => RegisterBlock,
    state: number,
    mayGo: () => boolean,
    changed: () => void,
  ) {
    this.#mayGo = mayGo;
    this.#changed = changed;
    this.#mechanisms = placed.flatMap(({ capability: { msi, msix } }): Mechanism[] => {
      if (msi !== undefined) return [new MsiMechanism(msi, config, state)];
      if (msix === undefined) return [];
      const table = bar(msix.table.bar);
      for (let n = 0; n < msix.vectors; n += 1) table.handleWrite(table.rowNamed(msixName.control(n)), changed);
      return [new MsixMechanism(msix, config, table, bar(msix.pba.bar))];
    });
  }

  get present(): boolean {
    return this.#mechanisms.length > 0;
  }

  get #active(): Mechanism | null {
    for (let i = 0; i < this.#mechanisms.length; i += 1) {
      const mechanism = this.#mechanisms[i] as Mechanism;
      if (mechanism.enabled) return mechanism;
    }
    return null;
  }

  get enabled(): boolean {
    return this.#active !== null;
  }

  get vectors(): number {
    return this.#active?.vectors ?? 0;
  }

  send(vector: number): Sending {
    const active = this.#active;
    const message = active === null ? -1 : active.message(vector);
    if (active === null || message < 0) return "none";
    if (active.isPending(message)) return "merged";
    active.setPending(message);
    this.#changed();
    return active.isMasked(message) || !this.#mayGo() ? "waits" : "goes";
  }

  pending(vector?: number): number {
    let waiting = 0;
    for (const mechanism of this.#mechanisms) {
      waiting += vector === undefined ? mechanism.count() : Number(mechanism.isPending(vector));
    }
    return waiting;
  }

  /** Send what waits and may go. */
  deliver(send: SendMessage): void {
    if (this.#mayGo()) this.#active?.deliver(send);
  }
}

class MsiMechanism implements Mechanism {
  readonly #arena: Arena;
  readonly #control: number;
  readonly #address: number;
  readonly #addressHigh: number | null;
  readonly #data: number;
  readonly #mask: number | null;
  /** Index of a 32-bit word. */
  readonly #pending: number;
  /** log2 of the messages the device has. */
  readonly #most: number;

  constructor(shape: MsiShape, config: RegisterBlock, state: number) {
    this.#arena = config.arena;
    this.#control = config.placeNamed("MSI_CONTROL");
    this.#address = config.placeNamed("MSI_ADDRESS");
    this.#addressHigh = shape.address64 ? config.placeNamed("MSI_ADDRESS_HIGH") : null;
    this.#data = config.placeNamed("MSI_DATA");
    this.#mask = shape.maskable ? config.placeNamed("MSI_MASK") : null;
    this.#pending = (shape.maskable ? config.placeNamed("MSI_PENDING") : state) >>> 2;
    this.#most = Math.log2(shape.vectors);
  }

  get enabled(): boolean {
    return (this.#arena.load(this.#control, 2) & MSI.enable) !== 0;
  }

  /** What the guest allows, which is never more than was asked for. */
  get vectors(): number {
    return 1 << Math.min((this.#arena.load(this.#control, 2) >>> MSI.enabledShift) & 7, this.#most);
  }

  /** With fewer messages than the device has, several share one. */
  message(vector: number): number {
    return vector & (this.vectors - 1);
  }

  isPending(message: number): boolean {
    return message >= 0 && message < 32 && ((this.#arena.i32[this.#pending] as number) & (1 << message)) !== 0;
  }

  setPending(message: number): void {
    this.#arena.setWord(this.#pending, (this.#arena.i32[this.#pending] as number) | (1 << message));
  }

  isMasked(message: number): boolean {
    return (this.#masked & (1 << message)) !== 0;
  }

  count(): number {
    return bitsIn(this.#arena.i32[this.#pending] as number);
  }

  get #masked(): number {
    if (this.#mask === null || isEventChannel(this.#arena.load(this.#address, 4), this.#arena.load(this.#data, 2))) {
      return 0;
    }
    return this.#arena.load(this.#mask, 4);
  }

  deliver(send: SendMessage): void {
    const arena = this.#arena;
    const ready = (arena.i32[this.#pending] as number) & ~this.#masked;
    if (ready === 0) return;
    const hi = this.#addressHigh === null ? 0 : arena.load(this.#addressHigh, 4);
    const lo = arena.load(this.#address, 4);
    const data = arena.load(this.#data, 2);
    const spare = this.vectors - 1;
    for (let vector = 0; vector < 32; vector += 1) {
      if ((ready & (1 << vector)) === 0) continue;
      if (!send(hi, lo, (data & ~spare) | (vector & spare))) return;
      arena.settle(this.#pending, (arena.i32[this.#pending] as number) & ~(1 << vector));
    }
  }
}

class MsixMechanism implements Mechanism {
  readonly vectors: number;
  readonly #arena: Arena;
  readonly #control: number;
  /** Byte offset of the table, and index of the first word of pending bits. */
  readonly #table: number;
  readonly #pending: number;

  constructor(shape: MsixShape, config: RegisterBlock, table: RegisterBlock, pba: RegisterBlock) {
    this.vectors = shape.vectors;
    this.#arena = config.arena;
    this.#control = config.placeNamed("MSIX_CONTROL");
    this.#table = table.placeNamed(msixName.address(0));
    this.#pending = pba.placeNamed(msixName.pending(0)) >>> 2;
  }

  get enabled(): boolean {
    return (this.#arena.load(this.#control, 2) & MSIX.enable) !== 0;
  }

  message(vector: number): number {
    return vector >= 0 && vector < this.vectors ? vector : -1;
  }

  isPending(message: number): boolean {
    if (this.message(message) < 0) return false;
    return ((this.#arena.i32[this.#pending + (message >>> 5)] as number) & (1 << (message & 31))) !== 0;
  }

  setPending(message: number): void {
    const word = this.#pending + (message >>> 5);
    this.#arena.setWord(word, (this.#arena.i32[word] as number) | (1 << (message & 31)));
  }

  isMasked(message: number): boolean {
    return this.#functionMasked || this.#entryMasked(message);
  }

  count(): number {
    let bits = 0;
    for (let first = 0; first < this.vectors; first += 32) {
      bits += bitsIn(this.#arena.i32[this.#pending + (first >>> 5)] as number);
    }
    return bits;
  }

  get #functionMasked(): boolean {
    return (this.#arena.load(this.#control, 2) & MSIX.functionMask) !== 0;
  }

  #entryMasked(message: number): boolean {
    const arena = this.#arena;
    const entry = this.#table + message * MSIX.entrySize;
    if ((arena.load(entry + 12, 4) & MSIX.masked) === 0) return false;
    return !isEventChannel(arena.load(entry, 4), arena.load(entry + 8, 4));
  }

  deliver(send: SendMessage): void {
    const arena = this.#arena;
    if (this.#functionMasked) return;
    for (let first = 0; first < this.vectors; first += 32) {
      const word = this.#pending + (first >>> 5);
      const pending = arena.i32[word] as number;
      if (pending === 0) continue;
      for (let bit = 0; bit < 32; bit += 1) {
        if ((pending & (1 << bit)) === 0) continue;
        if (this.#entryMasked(first + bit)) continue;
        const entry = this.#table + (first + bit) * MSIX.entrySize;
        if (!send(arena.load(entry + 4, 4), arena.load(entry, 4), arena.load(entry + 8, 4))) return;
        arena.settle(word, (arena.i32[word] as number) & ~(1 << bit));
      }
    }
  }
}

/**
 * A guest of Xen may bind a message to an event channel: its address is an interrupt's, its data has vector 0, which no
 * APIC takes. It then masks the event channel, and leaves the message's own mask bit as it was: set. So that bit says
 * nothing here. Linux does it where Xen offers `hvm_pirqs`: unless told otherwise up to 4.18, if told so from 4.19 on.
 *
 * Source: Linux arch/x86/pci/xen.c, xen_msi_compose_msg; QEMU hw/pci/msix.c, msix_vector_masked.
 */
function isEventChannel(addressLo: number, data: number): boolean {
  return (addressLo & 0xfff0_0000) === (0xfee0_0000 | 0) && (data & 0xff) === 0;
}

function bitsIn(word: number): number {
  let bits = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) bits += 1;
  return bits;
}
