// SPDX-License-Identifier: MIT

/** Something that must hold did not. */
export class FuzzFailure extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "FuzzFailure";
  }
}

/** Throws FuzzFailure with `what`, which is asked for only then. */
export function must(holds: boolean, what: () => string): void {
  if (!holds) throw new FuzzFailure(what());
}
