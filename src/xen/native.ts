// SPDX-License-Identifier: MIT
/** XenHost over the real libraries, or xensim's, which have the same ABI. */

import { hex } from "../base/hex.js";
import {
  busOf,
  type DomId,
  deviceOf,
  type EvtchnPort,
  formatRange,
  formatSbdf,
  functionOf,
  type Gfn,
  type IoservId,
  type Sbdf,
  segmentOf,
} from "../base/ids.js";
import { BUFIOREQ } from "../spec/xen-ioreq.js";
import { type CallArguments, callFailed, callMissing, closedHandle, openFailed, PRIVCMD } from "./errno.js";
import { NativeEventChannels } from "./evtchn.js";
import type { Bound, FfiAdapter, Pointer } from "./ffi/table.js";
import type { BufioreqMode, EventChannels, ForeignMapping, IoreqPages, IoSpace, MmcfgWindow, XenHost } from "./host.js";
import { NativeMemory } from "./native-memory.js";
import { NativeMmcfg } from "./native-mmcfg.js";
import { libxendevicemodel } from "./tables/libxendevicemodel.js";
import { libxentoolcore } from "./tables/libxentoolcore.js";

export class NativeXen implements XenHost {
  readonly #ffi: FfiAdapter;
  readonly #lib: Bound<typeof libxendevicemodel>;
  readonly #core: Bound<typeof libxentoolcore>;
  readonly #mmcfg: NativeMmcfg;
  readonly #memory: NativeMemory;
  readonly #channels = new Set<NativeEventChannels>();
  /** Null once closed. */
  #handle: Pointer | null;
  // Where the library puts its results. Calls do not nest.
  readonly #u16 = new Uint16Array(1);
  readonly #u32 = new Uint32Array(1);

  /** Opens the libraries. Throws LIBRARY_MISSING, SYMBOL_MISSING, XEN_OPEN_FAILED, ADDON_MISSING. */
  constructor(ffi: FfiAdapter) {
    this.#ffi = ffi;
    this.#lib = ffi.bind(libxendevicemodel);
    this.#core = ffi.bind(libxentoolcore);
    this.#mmcfg = new NativeMmcfg(ffi, () => this.#open);
    this.#handle = this.#lib.xendevicemodel_open(null, 0);
    if (this.#handle === null) throw openFailed(ffi.errno(), "xendevicemodel_open", PRIVCMD);
    try {
      this.#memory = new NativeMemory(ffi);
    } catch (error) {
      this.#lib.xendevicemodel_close(this.#handle);
      throw error;
    }
  }

  nrVcpus(domid: DomId): number {
    if (this.#lib.xendevicemodel_nr_vcpus(this.#open, domid, this.#u32) !== 0)
      throw callFailed(this.#ffi.errno(), "nr_vcpus", { domid });
    return this.#u32[0] as number;
  }

  createIoreqServer(domid: DomId, mode: BufioreqMode): IoservId {
    if (this.#lib.xendevicemodel_create_ioreq_server(this.#open, domid, BUFIOREQ[mode], this.#u16) !== 0) {
      throw callFailed(this.#ffi.errno(), "create_ioreq_server", { domid, bufioreq: mode });
    }
    return this.#u16[0] as IoservId;
  }

  destroyIoreqServer(domid: DomId, id: IoservId): void {
    if (this.#lib.xendevicemodel_destroy_ioreq_server(this.#open, domid, id) !== 0) {
      throw callFailed(this.#ffi.errno(), "destroy_ioreq_server", { domid, server: id });
    }
  }

  setIoreqServerState(domid: DomId, id: IoservId, enabled: boolean): void {
    if (this.#lib.xendevicemodel_set_ioreq_server_state(this.#open, domid, id, enabled ? 1 : 0) !== 0) {
      throw callFailed(this.#ffi.errno(), "set_ioreq_server_state", { domid, server: id, enabled: String(enabled) });
    }
  }

  bufioreqPort(domid: DomId, id: IoservId): EvtchnPort | null {
    // Without a ring Xen leaves the port as it was given, and not every library gives zero.
    this.#u32[0] = 0;
    if (this.#lib.xendevicemodel_get_ioreq_server_info(this.#open, domid, id, null, null, this.#u32) !== 0) {
      throw callFailed(this.#ffi.errno(), "get_ioreq_server_info", { domid, server: id });
    }
    return this.#u32[0] === 0 ? null : (this.#u32[0] as EvtchnPort);
  }

  mapIoreqPages(domid: DomId, id: IoservId, what: { readonly ring: boolean; readonly vcpus: number }): IoreqPages {
    return this.#memory.mapIoreqPages(domid, id, what);
  }

  mapIoRange(domid: DomId, id: IoservId, space: IoSpace, first: number | bigint, last: number | bigint): void {
    const mmio = space === "mmio" ? 1 : 0;
    if (this.#lib.xendevicemodel_map_io_range_to_ioreq_server(this.#open, domid, id, mmio, first, last) !== 0) {
      throw callFailed(this.#ffi.errno(), "map_io_range_to_ioreq_server", rangeWords(domid, id, space, first, last));
    }
  }

  unmapIoRange(domid: DomId, id: IoservId, space: IoSpace, first: number | bigint, last: number | bigint): void {
    const mmio = space === "mmio" ? 1 : 0;
    if (this.#lib.xendevicemodel_unmap_io_range_from_ioreq_server(this.#open, domid, id, mmio, first, last) !== 0) {
      throw callFailed(
        this.#ffi.errno(),
        "unmap_io_range_from_ioreq_server",
        rangeWords(domid, id, space, first, last),
      );
    }
  }

  mapPciDevice(domid: DomId, id: IoservId, at: Sbdf): void {
    const map = this.#lib.xendevicemodel_map_pcidev_to_ioreq_server;
    if (map(this.#open, domid, id, segmentOf(at), busOf(at), deviceOf(at), functionOf(at)) !== 0) {
      throw callFailed(this.#ffi.errno(), "map_pcidev_to_ioreq_server", {
        domid,
        server: id,
        function: formatSbdf(at),
      });
    }
  }

  unmapPciDevice(domid: DomId, id: IoservId, at: Sbdf): void {
    const unmap = this.#lib.xendevicemodel_unmap_pcidev_from_ioreq_server;
    if (unmap(this.#open, domid, id, segmentOf(at), busOf(at), deviceOf(at), functionOf(at)) !== 0) {
      throw callFailed(this.#ffi.errno(), "unmap_pcidev_from_ioreq_server", {
        domid,
        server: id,
        function: formatSbdf(at),
      });
    }
  }

  get translatesMmcfg(): boolean {
    return this.#mmcfg.available;
  }

  mapMmcfg(domid: DomId, id: IoservId, window: MmcfgWindow & { readonly translated: boolean }): void {
    this.#mmcfg.map(domid, id, window);
  }

  unmapMmcfg(domid: DomId, id: IoservId, segment: number): void {
    this.#mmcfg.unmap(domid, id, segment);
  }

  setMmcfgTranslated(domid: DomId, id: IoservId, translated: boolean): void {
    this.#mmcfg.setTranslated(domid, id, translated);
  }

  setIntxLevel(domid: DomId, device: number, pin: 0 | 1 | 2 | 3, asserted: boolean): void {
    if (this.#lib.xendevicemodel_set_pci_intx_level(this.#open, domid, 0, 0, device, pin, asserted ? 1 : 0) !== 0) {
      throw callFailed(this.#ffi.errno(), "set_pci_intx_level", {
        domid,
        device,
        pin: "ABCD"[pin] ?? pin,
        level: asserted ? 1 : 0,
      });
    }
  }

  setIsaIrqLevel(domid: DomId, irq: number, asserted: boolean): void {
    if (this.#lib.xendevicemodel_set_isa_irq_level(this.#open, domid, irq, asserted ? 1 : 0) !== 0) {
      throw callFailed(this.#ffi.errno(), "set_isa_irq_level", { domid, irq, level: asserted ? 1 : 0 });
    }
  }

  setIrqLevel(domid: DomId, irq: number, asserted: boolean): void {
    const set = this.#lib.xendevicemodel_set_irq_level;
    const result = set === undefined ? undefined : set(this.#open, domid, irq, asserted ? 1 : 0);
    if (result === 0) return;
    const args = { domid, irq, level: asserted ? 1 : 0 };
    throw result === undefined
      ? callMissing("set_irq_level", args)
      : callFailed(this.#ffi.errno(), "set_irq_level", args);
  }

  injectMsi(domid: DomId, address: number | bigint, data: number): void {
    // Register values travel as int32.
    if (this.#lib.xendevicemodel_inject_msi(this.#open, domid, address, data >>> 0) !== 0) {
      throw callFailed(this.#ffi.errno(), "inject_msi", { domid, address: hex(address), data: hex(data) });
    }
  }

  openEventChannels(): EventChannels {
    void this.#open;
    const channels: NativeEventChannels = new NativeEventChannels(this.#ffi, () => this.#channels.delete(channels));
    this.#channels.add(channels);
    return channels;
  }

  mapForeign(domid: DomId, gfns: readonly Gfn[] | Float64Array, prot: "r" | "rw"): ForeignMapping {
    return this.#memory.mapForeign(domid, gfns, prot);
  }

  modifiedMemory(domid: DomId, first: Gfn, count: number): void {
    if (this.#lib.xendevicemodel_modified_memory(this.#open, domid, first, count) !== 0) {
      throw callFailed(this.#ffi.errno(), "modified_memory", { domid, gfns: formatRange(first, first + count - 1) });
    }
  }

  restrict(domid: DomId): void {
    void this.#open;
    if (this.#core.xentoolcore_restrict_all(domid) !== 0)
      throw callFailed(this.#ffi.errno(), "restrict_all", { domid });
  }

  close(): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#handle = null;
    for (const channels of [...this.#channels]) channels.close();
    this.#memory.close();
    this.#lib.xendevicemodel_close(handle);
  }

  get #open(): Pointer {
    if (this.#handle === null) throw closedHandle("the Xen host");
    return this.#handle;
  }
}

function rangeWords(
  domid: DomId,
  server: IoservId,
  space: IoSpace,
  first: number | bigint,
  last: number | bigint,
): CallArguments {
  return { domid, server, [space === "pio" ? "ports" : "memory"]: formatRange(first, last) };
}
