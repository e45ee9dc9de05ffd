// SPDX-License-Identifier: MIT
/**
 * Guest memory as a map cache: windows of foreign pages, the least recently
 * used let go first. What is read or written is copied, so no one holds a view
 * of memory that may go away.
 *
 * The guest's memory map changes under us (ballooning); Xen says so with an
 * INVALIDATE request, upon which everything is unmapped.
 */

import { hasCode, messageOf } from "../base/errors.js";
import type { DomId, Gfn } from "../base/ids.js";
import { isShortage } from "../base/shortage.js";
import type { GuestEvent } from "../ioreq/bus.js";
import { PAGE_SIZE } from "../spec/xen-ioreq.js";
import type { ForeignMapping, XenHost } from "../xen/host.js";

/** Pages of a window, and how many windows stay mapped: at most 4 MiB in all. */
const WINDOW_PAGES = 16;
const MOST_WINDOWS = 64;
const WINDOW_BYTES = WINDOW_PAGES * PAGE_SIZE;
const ADDRESS_LIMIT = 1n << 52n;

interface Window {
  readonly mapping: ForeignMapping;
  readonly bytes: Uint8Array;
}

export class ForeignMemory {
  readonly #xen: XenHost;
  readonly #domid: DomId;
  readonly #guestEvent: GuestEvent;
  /** By window number; a Map keeps insertion order, so the first is the oldest. */
  readonly #windows = new Map<number, Window>();

  /** `guestEvent` hears of memory that could not be mapped although the guest may have it. */
  constructor(xen: XenHost, domid: DomId, guestEvent: GuestEvent = () => {}) {
    this.#xen = xen;
    this.#domid = domid;
    this.#guestEvent = guestEvent;
  }

  /** Copy guest memory out. False, with `target` half filled perhaps, when some of it is not there. */
  read(gpa: bigint, target: Uint8Array): boolean {
    return this.#each(gpa, target.length, (bytes, from, at, length) => {
      target.set(bytes.subarray(from, from + length), at);
    });
  }

  /** Copy into guest memory. False when some of it is not there. */
  write(gpa: bigint, source: Uint8Array): boolean {
    const done = this.#each(gpa, source.length, (bytes, from, at, length) => {
      bytes.set(source.subarray(at, at + length), from);
    });
    if (done && source.length > 0) this.#tellModified(gpa, source.length);
    return done;
  }

  /** Unmap everything: the guest's memory map changed, or the domain is going. */
  invalidate(): void {
    for (const { mapping } of this.#windows.values()) mapping.unmap();
    this.#windows.clear();
  }

  /** Walk [gpa, gpa + length) page by page. */
  #each(
    gpa: bigint,
    length: number,
    visit: (bytes: Uint8Array, from: number, at: number, length: number) => void,
  ): boolean {
    if (gpa < 0n || gpa + BigInt(length) > ADDRESS_LIMIT) return false;
    const start = Number(gpa);
    for (let at = 0; at < length; ) {
      const address = start + at;
      const inPage = address % PAGE_SIZE;
      const piece = Math.min(length - at, PAGE_SIZE - inPage);
      const window = this.#window(Math.floor(address / WINDOW_BYTES));
      const page = Math.floor((address % WINDOW_BYTES) / PAGE_SIZE);
      if (window === null || window.mapping.errors[page] !== 0) return false;
      visit(window.bytes, page * PAGE_SIZE + inPage, at, piece);
      at += piece;
    }
    return true;
  }

  #window(index: number): Window | null {
    const known = this.#windows.get(index);
    if (known !== undefined) {
      this.#windows.delete(index);
      this.#windows.set(index, known);
      return known;
    }
    const mapping = this.#map(index);
    if (mapping === null) return null;
    const window = { mapping, bytes: new Uint8Array(mapping.buffer) };
    this.#windows.set(index, window);
    if (this.#windows.size > MOST_WINDOWS) this.#dropOldest();
    return window;
  }

  #map(index: number): ForeignMapping | null {
    const gfns = Float64Array.from({ length: WINDOW_PAGES }, (_, page) => index * WINDOW_PAGES + page);
    let mapping: ForeignMapping;
    try {
      mapping = this.#mapOrMakeRoom(gfns);
    } catch (error) {
      // No page of the window is there: the guest named a hole. That is no fault of ours.
      if (!hasCode(error, "XEN_CALL_FAILED") && !hasCode(error, "XEN_DOMAIN_GONE")) throw error;
      if (isShortage(error)) this.#guestEvent("guest memory not mapped", { error: messageOf(error) });
      return null;
    }
    if (mapping.errors.some((errno) => errno === 0)) return mapping;
    mapping.unmap();
    return null;
  }

  /** Where memory is short, what other windows have is given back first. */
  #mapOrMakeRoom(gfns: Float64Array): ForeignMapping {
    try {
      return this.#xen.mapForeign(this.#domid, gfns, "rw");
    } catch (error) {
      if (!isShortage(error) || this.#windows.size === 0) throw error;
      this.invalidate();
      return this.#xen.mapForeign(this.#domid, gfns, "rw");
    }
  }

  #dropOldest(): void {
    for (const [index, { mapping }] of this.#windows) {
      mapping.unmap();
      this.#windows.delete(index);
      return;
    }
  }

  /** For live migration. A dying domain has nothing to migrate. */
  #tellModified(gpa: bigint, length: number): void {
    const first = Math.floor(Number(gpa) / PAGE_SIZE);
    const last = Math.floor((Number(gpa) + length - 1) / PAGE_SIZE);
    try {
      this.#xen.modifiedMemory(this.#domid, first as Gfn, last - first + 1);
    } catch (error) {
      if (!hasCode(error, "XEN_CALL_FAILED") && !hasCode(error, "XEN_DOMAIN_GONE")) throw error;
    }
  }
}
