// SPDX-License-Identifier: MIT
/** What a host runs short of, by errno. */

import { IoreqdError } from "./errors.js";

const SHORTAGES: ReadonlySet<unknown> = new Set([
  "ENOMEM",
  "ENOSPC",
  "EDQUOT",
  "EMFILE",
  "ENFILE",
  "EAGAIN",
  "ENOBUFS",
]);

/** `errno`: by name. */
export const isShortageErrno = (errno: unknown): boolean => SHORTAGES.has(errno);

/** Whether there may be enough of it in a moment: an error of ours with such an errno, or one of Node.js. */
export function isShortage(error: unknown): boolean {
  const errno = error instanceof IoreqdError ? error.details["errno"] : (error as NodeJS.ErrnoException).code;
  return isShortageErrno(errno);
}
