// SPDX-License-Identifier: MIT
/**
 * What the other ioreq servers of a domain have: QEMU's, and those of further processes of ours. Xen lets several have the
 * same function, gives its accesses to the newest and tells nobody, so who wants a function asks first.
 */

import { hasErrno, IoreqdError } from "../base/errors.js";
import { type DomId, formatSbdf, type IoservId, type Sbdf } from "../base/ids.js";
import { MAX_SERVERS } from "../spec/xen-ioreq.js";
import type { XenHost } from "../xen/host.js";

/** Throws SLOT_TAKEN where another server than `own` has one of these functions. */
export function refuseTaken(xen: XenHost, domid: DomId, own: IoservId, functions: readonly Sbdf[]): void {
  if (functions.length === 0) return;
  const others = otherServers(xen, domid, own);
  for (const at of functions) {
    const server = others.find((id) => hasFunction(xen, domid, id, at));
    if (server === undefined) continue;
    throw new IoreqdError(
      "SLOT_TAKEN",
      `${formatSbdf(at)} is taken: ioreq server ${server} of domain ${domid} has that function, be it QEMU's, another ioreqd's with a --state-dir of its own, or that of one that was killed and whose state file is gone; give another addr=, or shadow=on to take it away`,
      { domid, server, function: formatSbdf(at) },
    );
  }
}

/** Those that this domain may ask, in the order of their ids. */
function otherServers(xen: XenHost, domid: DomId, own: IoservId): IoservId[] {
  const ids = Array.from({ length: MAX_SERVERS }, (_, id) => id as IoservId);
  return ids.filter((id) => id !== own && !refuses(["ENOENT", "EPERM"], () => xen.bufioreqPort(domid, id)));
}

/** Whether the domain has such a server. Throws what XenHost throws. */
export function serverExists(xen: XenHost, domid: DomId, id: IoservId): boolean {
  return !refuses(["ENOENT"], () => xen.bufioreqPort(domid, id));
}

/**
 * Xen has no call that tells, but it refuses to give a server what that has already. What it does give is taken back at
 * once. In between the guest finds nobody there, as before: servers are asked in the order of their ids, so none that was
 * asked before this one has the function, and those that are asked later take precedence.
 * Source: Xen common/ioreq.c, ioreq_server_map_io_range(), ioreq_server_select().
 */
function hasFunction(xen: XenHost, domid: DomId, id: IoservId, at: Sbdf): boolean {
  return refuses(["EEXIST"], () => {
    // It ended meanwhile, or has as many ranges as Xen gives to one: what it has comes before that.
    refuses(["ENOENT", "ENOMEM"], () => {
      xen.mapPciDevice(domid, id, at);
      xen.unmapPciDevice(domid, id, at);
    });
  });
}

/** Whether Xen refuses this, with one of these errnos. Throws what it throws else. */
function refuses(errnos: readonly string[], call: () => void): boolean {
  try {
    call();
    return false;
  } catch (error) {
    if (errnos.some((errno) => hasErrno(error, errno))) return true;
    throw error;
  }
}
