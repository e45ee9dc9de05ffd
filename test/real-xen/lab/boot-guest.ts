// SPDX-License-Identifier: MIT
/** A guest up to its userland, also where the emulation trips over the boot loader. */

import { readFileSync } from "node:fs";
import { hasCode } from "../../../src/base/errors.js";
import type { Dom0 } from "./dom0.js";
import { Guest, type GuestConfig } from "./guests.js";
import { step } from "./progress.js";

const TRIES = 6;

/**
 * Create a guest, let `prepare` do what is to be done while it is paused, and wait for its userland.
 *
 * The boot loader goes back and forth between real and protected mode, and on a busy machine QEMU's emulation of SVM
 * now and then ends that with a triple fault, before the guest's kernel has begun: the guest is then created anew.
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
      const tripped = hasCode(error, "LAB_GUEST_DIED") && trippedOverBootLoader(dom0, guest);
      await dom0.sh(`xl destroy ${guest.name}`, { check: false });
      if (!tripped || left === 1) throw error;
      step(`the emulation tripped over ${guest.name}'s boot loader: once more`);
    }
  }
}

function trippedOverBootLoader(dom0: Dom0, guest: Guest): boolean {
  if (guest.console() !== "") return false;
  const tripped = new RegExp(`\\(d${guest.domid}\\).*Booting from 0000:7c00[\\s\\S]*d${guest.domid}v0 Triple fault`);
  return tripped.test(readFileSync(dom0.files.serial, "latin1"));
}
