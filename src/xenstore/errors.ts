// SPDX-License-Identifier: MIT
/** What can go wrong with xenstore, in words. */

import { IoreqdError } from "../base/errors.js";

/** `tried`: the sockets, in order. */
export function unreachable(tried: readonly string[], error: Error): IoreqdError {
  const errno = (error as NodeJS.ErrnoException).code ?? error.message;
  const advice =
    errno === "EACCES" || errno === "EPERM"
      ? "not permitted: run as root"
      : "is this dom0, and does xenstored run? systemctl status xenstored, or xen on Debian";
  const where = tried.join(", nor at ");
  return new IoreqdError("XENSTORE_UNREACHABLE", `connect to xenstored at ${where}: ${errno} (${advice})`, {
    path: tried[0],
    errno,
  });
}

/** What xenstored means by them. Source: Xen docs/misc/xenstore.txt, tools/xenstore/xenstored_core.c. */
const REASONS: Readonly<Record<string, string>> = {
  EACCES: "not permitted: run as root in dom0",
  EPERM: "not permitted: run as root in dom0",
  E2BIG: "too long: path and value together have 4096 bytes",
  EINVAL: "xenstored does not take this: a path begins with / and has letters, digits and -/_@ only",
  EEXIST: "it is there already",
  EAGAIN: "others changed the same nodes, again and again; try later",
  EBUSY: "xenstored has too much under way; try later",
  ENOSPC: "xenstored's quota is used up; its options --entry-nb, --watch-nb and --transaction raise it",
  ENOMEM: "xenstored is out of memory",
  EIO: "xenstored cannot keep its own database; its log says why",
  ENOSYS: "this xenstored does not know the call",
  EROFS: "xenstored is read-only",
};

/** `what`: the call and its path. `errno`: as xenstored names it; found again as `details.errno`. */
export function refused(what: string, errno: string): IoreqdError {
  const reason = REASONS[errno];
  const message = `xenstore: ${what}: ${errno}${reason === undefined ? "" : ` (${reason})`}`;
  return new IoreqdError("XENSTORE_REFUSED", message, { errno });
}

export function isRefusal(error: unknown, errno: string): boolean {
  return error instanceof IoreqdError && error.code === "XENSTORE_REFUSED" && error.details["errno"] === errno;
}

export function lost(why: string): IoreqdError {
  return new IoreqdError(
    "XENSTORE_LOST",
    `xenstored is lost: ${why}; it can't be started again on a running host, and guests that run go on without it`,
  );
}
