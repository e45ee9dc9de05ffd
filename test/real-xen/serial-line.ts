// SPDX-License-Identifier: MIT
/** A serial port as the guest's Linux has it. */

import type { Guest } from "./lab/guests.js";

/** Fifths of a second that a driver may take; hot-plug waits five seconds behind a press of the button. */
const TRIES = 300;

/** Its device file: "/dev/ttyS0". `bdf`: "0000:00:11.0". Throws when no driver takes it. */
export async function serialLine(guest: Guest, bdf: string): Promise<string> {
  // Since Linux 6.5 the line is a device of a port of a controller, and no longer of the function itself.
  const find = `find /sys/bus/pci/devices/${bdf}/ -name 'ttyS*' 2> /dev/null | grep -o 'ttyS[0-9]*$'`;
  const { output } = await guest.sh(`for try in $(seq ${TRIES}); do ${find} && break; sleep 0.2; done`);
  const [name] = /ttyS\d+/.exec(output) ?? [];
  if (name === undefined) throw new Error(`the guest has no serial line at ${bdf}: did its kernel load 8250_pci?`);
  return `/dev/${name}`;
}
