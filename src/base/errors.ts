// SPDX-License-Identifier: MIT
/** The one class of error. `code` is stable and listed in docs/errors.md. */

export type ErrorDetails = Readonly<Record<string, unknown>>;

export class IoreqdError extends Error {
  readonly code: string;
  readonly details: ErrorDetails;

  /** `message`: what was tried, on what, what came back, and what to do. */
  constructor(code: string, message: string, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "IoreqdError";
    this.code = code;
    this.details = details;
  }
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof IoreqdError && error.code === code;
}

/** An error of a call that was refused with this errno, by name: "ENOENT". */
export function hasErrno(error: unknown, errno: string): boolean {
  return error instanceof IoreqdError && error.details["errno"] === errno;
}
