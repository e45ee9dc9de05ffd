// SPDX-License-Identifier: MIT
/** How a guest program ended, vCPU by vCPU. */

import { IoreqdError, messageOf } from "../base/errors.js";

export interface VcpuOutcome {
  readonly vcpu: number;
  /** "stopped": the run was ended, or the domain shut down, before the program was through. */
  readonly state: "finished" | "failed" | "stopped";
  /** Of what was thrown: an IoreqdError's code, else "GUEST_FAILED". Not there when it finished. */
  readonly code?: string;
  readonly message?: string;
  readonly stack?: string;
}

export interface GuestOutcome {
  /** True when the program finished on every vCPU. */
  readonly ok: boolean;
  readonly vcpus: readonly VcpuOutcome[];
}

export function failureOf(vcpu: number, error: unknown): VcpuOutcome {
  const code = error instanceof IoreqdError ? error.code : "GUEST_FAILED";
  const state = code === "GUEST_STOPPED" || code === "DOMAIN_SHUTDOWN" ? "stopped" : "failed";
  const stack = error instanceof Error && error.stack !== undefined ? { stack: error.stack } : {};
  return { vcpu, state, code, message: messageOf(error), ...stack };
}
