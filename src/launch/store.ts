// SPDX-License-Identifier: MIT
/** The xenstore of the host we run on. */

import { xensimSocket } from "../xen/libraries.js";
import { XenStore } from "../xenstore/client.js";

/**
 * Throws XENSTORE_UNREACHABLE. Null on a simulated host that has none: there a domain's end
 * is noticed by the end of its event channels.
 */
export async function openStore(): Promise<XenStore | null> {
  if (xensimSocket() !== undefined && process.env["XENSTORED_PATH"] === undefined) return null;
  return XenStore.connect();
}
