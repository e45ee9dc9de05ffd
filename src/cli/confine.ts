// SPDX-License-Identifier: MIT
/**
 * What a process that serves one guest gives up before it reads the guest's first request: other domains, root,
 * xenstore. What is opened by then is all it has. docs/security.md says what is left to one that a guest has taken over.
 *
 * Source: xentoolcore.h, xentoolcore_restrict_all; Xen docs/designs/qemu-deprivilege.md, which gives each domain a uid, too.
 */

import { IoreqdError, messageOf } from "../base/errors.js";
import type { DomId } from "../base/ids.js";
import type { XenHost } from "../xen/host.js";

/** Nobody gives these to anything. Source: systemd.io/UIDS-GIDS, "1879048192...2147483646: unused". */
const FIRST_UID = 0x7000_0000;

/** Of no use to any other process: processes of one uid may signal and trace each other. */
const uidOf = (domid: DomId): number => FIRST_UID + domid;

/** Only root can, and it can't be undone. Throws CONFINE_FAILED, what XenHost.restrict() throws. */
export function confine(xen: XenHost, domid: DomId): void {
  const uid = uidOf(domid);
  if (process.getuid?.() !== 0) {
    throw new IoreqdError("CONFINE_FAILED", "--confine: only root can become another user; start it as root", { uid });
  }
  xen.restrict(domid);
  try {
    process.setgroups?.([]);
    process.setgid?.(uid);
    process.setuid?.(uid);
  } catch (error) {
    throw new IoreqdError(
      "CONFINE_FAILED",
      `--confine: this process can't become user ${uid}: ${messageOf(error)}; it needs the capabilities CAP_SETUID and CAP_SETGID`,
      { uid },
      { cause: error },
    );
  }
}
