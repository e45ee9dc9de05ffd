// SPDX-License-Identifier: MIT
/** The unit that serves a guest. */

import type { Dom0 } from "./lab/dom0.js";

/** Resolves when its process has ended, and what the unit runs after that. */
export async function unitEnded(dom0: Dom0, domid: number): Promise<void> {
  const ended = `systemctl is-active ioreqd@${domid} | grep -qx -e inactive -e failed`;
  await dom0.sh(`timeout 60 sh -c 'until ${ended}; do sleep 0.3; done'`);
}
