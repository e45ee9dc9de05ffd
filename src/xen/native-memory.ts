// SPDX-License-Identifier: MIT
/** Mappings of shared and guest pages through libxenforeignmemory. */

import { IoreqdError } from "../base/errors.js";
import { hex } from "../base/hex.js";
import { type DomId, formatRange, type Gfn, type IoservId } from "../base/ids.js";
import { MAX_VCPUS, PAGE_SIZE } from "../spec/xen-ioreq.js";
import { type Addon, loadAddon } from "./addon.js";
import { callFailed, closedHandle, openFailed, PRIVCMD } from "./errno.js";
import type { Bound, FfiAdapter, Pointer } from "./ffi/table.js";
import type { ForeignMapping, IoreqPages } from "./host.js";
import { PROT_READ, PROT_WRITE } from "./tables/libc.js";
import { libxenforeignmemory } from "./tables/libxenforeignmemory.js";

/** XENMEM_resource_ioreq_server and its frames. Source: Xen public/memory.h. */
const RESOURCE_IOREQ_SERVER = 0;
const FRAME_BUFIOREQ = 0;
const FRAME_IOREQ = 1;

export class NativeMemory {
  readonly #ffi: FfiAdapter;
  readonly #addon: Addon;
  readonly #lib: Bound<typeof libxenforeignmemory>;
  /** Undoes every mapping that is still there: a page left mapped keeps a dead domain from being freed. */
  readonly #mapped = new Set<() => void>();
  #handle: Pointer | null;

  /** Throws LIBRARY_MISSING, SYMBOL_MISSING, XEN_OPEN_FAILED, ADDON_MISSING. */
  constructor(ffi: FfiAdapter) {
    this.#ffi = ffi;
    this.#addon = loadAddon();
    this.#lib = ffi.bind(libxenforeignmemory);
    this.#handle = this.#lib.xenforeignmemory_open(null, 0);
    if (this.#handle === null) throw openFailed(ffi.errno(), "xenforeignmemory_open", PRIVCMD);
  }

  mapIoreqPages(
    domid: DomId,
    id: IoservId,
    { ring, vcpus }: { readonly ring: boolean; readonly vcpus: number },
  ): IoreqPages {
    const handle = this.#open;
    const pages = Math.max(1, Math.ceil(vcpus / MAX_VCPUS));
    // The ring's frame comes before the slots', so one mapping has both.
    const frame = ring ? FRAME_BUFIOREQ : FRAME_IOREQ;
    const frames = ring ? pages + 1 : pages;
    const at = new BigUint64Array(1);
    const prot = PROT_READ | PROT_WRITE;
    const resource = this.#lib.xenforeignmemory_map_resource(
      handle,
      domid,
      RESOURCE_IOREQ_SERVER,
      id,
      frame,
      frames,
      at,
      prot,
      0,
    );
    if (resource === null) {
      throw callFailed(this.#ffi.errno(), "map_resource", {
        domid,
        server: id,
        frames: `${frame}-${frame + frames - 1}`,
      });
    }
    const base = at[0] as bigint;
    const view = (offset: number, length: number): ArrayBuffer =>
      this.#ffi.view(this.#ffi.pointerAt(base + BigInt(offset)), length);
    const ringBuffer = ring ? view(0, PAGE_SIZE) : null;
    const ioreq = view(ring ? PAGE_SIZE : 0, pages * PAGE_SIZE);
    const unmap = this.#undoing(ringBuffer === null ? [ioreq] : [ioreq, ringBuffer], () => {
      if (this.#lib.xenforeignmemory_unmap_resource(handle, resource) !== 0) {
        throw callFailed(this.#ffi.errno(), "unmap_resource", { domid, server: id });
      }
    });
    return { ioreq, ring: ringBuffer, unmap };
  }

  mapForeign(domid: DomId, gfns: readonly Gfn[] | Float64Array, prot: "r" | "rw"): ForeignMapping {
    const handle = this.#open;
    const count = gfns.length;
    if (count === 0) throw new IoreqdError("BAD_VALUE", "no guest page was given to map", { domid });
    const frames = new BigUint64Array(count);
    for (let i = 0; i < count; i += 1) frames[i] = BigInt(gfns[i] as number);
    const errors = new Int32Array(count);
    const at = this.#lib.xenforeignmemory_map(
      handle,
      domid,
      prot === "rw" ? PROT_READ | PROT_WRITE : PROT_READ,
      count,
      frames,
      errors,
    );
    if (at === null) {
      const pages =
        count === 1 ? { gfn: hex(gfns[0] as number) } : { gfns: `${hex(gfns[0] as number)} and ${count - 1} more` };
      throw callFailed(this.#ffi.errno(), "map", { domid, ...pages });
    }
    // The header promises errnos; Linux's privcmd, whose array this is, writes them negative.
    for (let i = 0; i < count; i += 1) errors[i] = Math.abs(errors[i] as number);
    const buffer = this.#ffi.view(at, count * PAGE_SIZE);
    const unmap = this.#undoing([buffer], () => {
      if (this.#lib.xenforeignmemory_unmap(handle, at, count) !== 0) {
        throw callFailed(this.#ffi.errno(), "unmap", { domid, memory: formatRange(0, count * PAGE_SIZE - 1) });
      }
    });
    return { buffer, errors, unmap };
  }

  /** Unmaps whatever is left, then closes. */
  close(): void {
    const handle = this.#handle;
    if (handle === null) return;
    let failed: unknown;
    for (const unmap of [...this.#mapped]) {
      try {
        unmap();
      } catch (error) {
        failed ??= error;
      }
    }
    this.#handle = null;
    this.#lib.xenforeignmemory_close(handle);
    if (failed !== undefined) throw failed;
  }

  get #open(): Pointer {
    if (this.#handle === null) throw closedHandle("the Xen host");
    return this.#handle;
  }

  /** The undo of a mapping, to be run once: first JavaScript loses the memory, then the process does. */
  #undoing(buffers: readonly ArrayBuffer[], release: () => void): () => void {
    const unmap = (): void => {
      if (!this.#mapped.delete(unmap)) return;
      for (const buffer of buffers) this.#addon.detach(buffer);
      release();
    };
    this.#mapped.add(unmap);
    return unmap;
  }
}
