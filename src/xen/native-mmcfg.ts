// SPDX-License-Identifier: MIT
/** The MMCONFIG part of XenHost, where the library has it: see MmcfgWindow. */

import { IoreqdError } from "../base/errors.js";
import { hex } from "../base/hex.js";
import type { DomId, IoservId } from "../base/ids.js";
import { type CallArguments, callFailed, callMissing } from "./errno.js";
import type { Bound, FfiAdapter, Pointer } from "./ffi/table.js";
import type { MmcfgWindow } from "./host.js";
import { libxendevicemodelMmcfg } from "./tables/libxendevicemodel.js";

/** XEN_DMOP_mmcfg_native. */
const NATIVE = 1;

export class NativeMmcfg {
  readonly #ffi: FfiAdapter;
  readonly #lib: Bound<typeof libxendevicemodelMmcfg>;
  readonly #handle: () => Pointer;

  constructor(ffi: FfiAdapter, handle: () => Pointer) {
    this.#ffi = ffi;
    this.#lib = ffi.bind(libxendevicemodelMmcfg);
    this.#handle = handle;
  }

  get available(): boolean {
    return this.#lib.xendevicemodel_map_mmcfg_to_ioreq_server !== undefined;
  }

  map(domid: DomId, id: IoservId, window: MmcfgWindow & { readonly translated: boolean }): void {
    const { segment, base, startBus, endBus, translated } = window;
    const args = {
      domid,
      server: id,
      segment: hex(whole("segment", segment, 0xffff)),
      base: hex(base),
      buses: `${hex(whole("bus", startBus, 0xff))}-${hex(whole("bus", endBus, 0xff))}`,
    };
    const flags = translated ? 0 : NATIVE;
    const call = this.#lib.xendevicemodel_map_mmcfg_to_ioreq_server;
    this.#check("map_mmcfg_to_ioreq_server", args, (h) => call?.(h, domid, id, segment, base, startBus, endBus, flags));
  }

  unmap(domid: DomId, id: IoservId, segment: number): void {
    const args = { domid, server: id, segment: hex(whole("segment", segment, 0xffff)) };
    const call = this.#lib.xendevicemodel_unmap_mmcfg_from_ioreq_server;
    this.#check("unmap_mmcfg_from_ioreq_server", args, (h) => call?.(h, domid, id, segment));
  }

  setTranslated(domid: DomId, id: IoservId, translated: boolean): void {
    const args = { domid, server: id, translated: String(translated) };
    const call = this.#lib.xendevicemodel_set_ioreq_server_mmcfg;
    this.#check("set_ioreq_server_mmcfg", args, (h) => call?.(h, domid, id, translated ? 0 : NATIVE));
  }

  /** errno is read straight after the call. */
  #check(name: string, args: CallArguments, call: (handle: Pointer) => number | undefined): void {
    const result = call(this.#handle());
    if (result === undefined) throw callMissing(name, args);
    if (result !== 0) throw callFailed(this.#ffi.errno(), name, args);
  }
}

/** C would take the low bits of anything else. */
function whole(what: string, value: number, last: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= last) return value;
  throw new IoreqdError("BAD_VALUE", `MMCONFIG window with ${what} ${value}: 0 to ${last} are possible`, {
    [what]: value,
  });
}
