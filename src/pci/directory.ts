// SPDX-License-Identifier: MIT
/** Who is at a PCI address: two steps, the bus and then the device and function, however many there are. */

import type { Sbdf } from "../base/ids.js";
import type { PciFunction } from "./function.js";

const PER_BUS = 256;

export class Directory {
  /** By segment and bus. */
  #buses = new Map<number, Array<PciFunction | undefined>>();
  /** The bus that was looked at last: guests look at one after the other. */
  #bus = -1;
  #slots: ReadonlyArray<PciFunction | undefined> = [];

  /** `address`: an SBDF, as any 32 bits. Allocates nothing. */
  at(address: number): PciFunction | undefined {
    const bus = address >>> 8;
    if (bus !== this.#bus) {
      this.#bus = bus;
      this.#slots = this.#buses.get(bus) ?? NOBODY;
    }
    return this.#slots[address & (PER_BUS - 1)];
  }

  /** All of these, where they are now. */
  set(functions: readonly PciFunction[]): void {
    this.#buses = new Map();
    this.#bus = -1;
    for (const fn of functions) {
      if (fn.sbdf === null) continue;
      const bus = fn.sbdf >>> 8;
      const slots = this.#buses.get(bus) ?? new Array<PciFunction | undefined>(PER_BUS).fill(undefined);
      slots[fn.sbdf & (PER_BUS - 1)] = fn;
      this.#buses.set(bus, slots);
    }
  }

  addresses(): Sbdf[] {
    return [...this.#buses.values()].flatMap((slots) => slots.flatMap((fn) => fn?.sbdf ?? []));
  }
}

const NOBODY: ReadonlyArray<PciFunction | undefined> = new Array<PciFunction | undefined>(PER_BUS).fill(undefined);
