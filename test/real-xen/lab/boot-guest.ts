// SPDX-License-Identifier: MIT
/** A guest up to its userland, also where the emulation trips over its boot. */

import { readFileSync } from "node:fs";
import { hasCode } from "../../../src/base/errors.js";
import type { Dom0 } from "./dom0.js";
import { Guest, type GuestConfig } from "./guests.js";
import { step } from "./progress.js";

const TRIES = 6;

/**
 * Create a guest, let `prepare` do what is to be done while it is paused, and wait for its userland.
 *
 * QEMU's emulation of SVM now and then ends a guest's mode changes with a triple fault, the more often the busier the
 * machine is: in the boot loader, which goes back and forth between real and protected mode, or where a second vCPU is
 * brought up. dom0 and guests have a processor each, which prevents nearly all of it. The guest is then created anew. A fault that is ours comes each time, and is told after the last try.
 */
export async function bootGuest(
  dom0: Dom0,
  config: GuestConfig,
  prepare: (guest: Guest) => Promise<void> = async () => {},
): Promise<Guest> {
  for (let left = TRIES; ; left -= 1) {
    const guest = await Guest.create(dom0, { ...config, paused: true });
    try {
      await prepare(guest);
      await guest.unpause();
      await guest.booted();
      return guest;
    } catch (error) {
      const tripped = hasCode(error, "LAB_GUEST_DIED") && tripleFaulted(dom0, guest);
      await dom0.sh(`xl destroy ${guest.name}`, { check: false });
      if (!tripped || left === 1) throw error;
      step(`the emulation ended ${guest.name}'s boot with a triple fault: once more`);
    }
  }
}

function tripleFaulted(dom0: Dom0, guest: Guest): boolean {
  return new RegExp(`d${guest.domid}v\\d+ Triple fault`).test(readFileSync(dom0.files.serial, "latin1"));
}
