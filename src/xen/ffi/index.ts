// SPDX-License-Identifier: MIT
import { ffiNapiAdapter } from "./ffi-napi.js";
import { koffiAdapter } from "./koffi.js";
import type { FfiAdapter } from "./table.js";

export const ADAPTERS = ["koffi", "ffi-napi"] as const;
export type AdapterName = (typeof ADAPTERS)[number];

/** Throws ADAPTER_MISSING. */
export function openAdapter(name: AdapterName = "koffi"): FfiAdapter {
  return name === "koffi" ? koffiAdapter() : ffiNapiAdapter();
}
