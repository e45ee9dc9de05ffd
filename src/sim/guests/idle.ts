// SPDX-License-Identifier: MIT
/** A guest that does nothing, until it is stopped. */

import type { GuestVcpu } from "../guest.js";

export default function idle(vcpu: GuestVcpu): void {
  vcpu.waitInterrupt(() => false, Number.POSITIVE_INFINITY);
}
