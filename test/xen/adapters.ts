// SPDX-License-Identifier: MIT
import { type AdapterName, openAdapter } from "../../src/xen/ffi/index.js";
import type { FfiAdapter } from "../../src/xen/ffi/table.js";

/** Null for the optional adapter where it is not installed. */
export function installedAdapter(name: AdapterName): FfiAdapter | null {
  try {
    return openAdapter(name);
  } catch (error) {
    if (name === "koffi") throw error;
    return null;
  }
}
