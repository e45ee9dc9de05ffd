// SPDX-License-Identifier: MIT
/**
 * Interrupt lines as a Linux guest knows them. A function's line is up from the interrupt that
 * uio_pci_generic counted until the function's status bit goes. Its handler sets COMMAND bit 10 so that the
 * line, which is level-triggered, lets go; here it is cleared again once the device has.
 * Source: Linux drivers/uio/uio_pci_generic.c; PCI 3.0 6.2.2, 6.2.3.
 */

import type { GuestCpu } from "../../../src/sim/guest.js";
import { COMMAND, CONFIG, MULTI_FUNCTION, STATUS } from "../../../src/spec/pci.js";

/** One wait in the guest, so that a run that is stopped ends soon. */
const WAIT_MS = 200;
/** Between two looks at a line that is to go down: nothing says so. */
const LOOK_MS = 10;
const FUNCTIONS = 256;

/** For Lines: interrupts of each function of bus 0 that were dealt with, for all vCPUs. */
export const handledMemory = (): SharedArrayBuffer => new SharedArrayBuffer(FUNCTIONS * 4);

export class Lines {
  readonly #cpu: Pick<GuestCpu, "configRead" | "configWrite">;
  readonly #run: (operations: readonly string[]) => string[];
  readonly #handled: Int32Array;
  readonly #devices = new Map<number, Set<number>>();
  readonly #functions = new Map<number, number[]>();
  readonly #sleep = new Int32Array(new SharedArrayBuffer(4));

  constructor(
    cpu: Pick<GuestCpu, "configRead" | "configWrite">,
    run: (operations: readonly string[]) => string[],
    handled: SharedArrayBuffer,
  ) {
    this.#cpu = cpu;
    this.#run = run;
    this.#handled = new Int32Array(handled);
  }

  /** Source: Xen arch/x86/hvm/irq.c, hvm_pci_intx_gsi. */
  gsiOf(device: number, pin: number): number {
    const gsi = (((device << 2) + (device >> 3) + pin) & 31) + 16;
    this.#devices.set(gsi, (this.#devices.get(gsi) ?? new Set()).add(device));
    return gsi;
  }

  level(gsi: number): boolean {
    return this.#functionsOn(gsi).some((bdf) => this.#isUp(bdf, 0));
  }

  wait(gsi: number, level: boolean, timeoutMs: number): boolean {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const left = Math.max(0, Math.min(WAIT_MS, deadline - performance.now()));
      const functions = this.#functionsOn(gsi);
      const patience = level ? Math.ceil(left / Math.max(1, functions.length)) : 0;
      if (functions.some((bdf) => this.#isUp(bdf, patience)) === level) return true;
      if (performance.now() >= deadline) return false;
      if (!level) Atomics.wait(this.#sleep, 0, 0, LOOK_MS);
    }
  }

  #isUp(bdf: number, patienceMs: number): boolean {
    const handled = Atomics.load(this.#handled, bdf);
    const operands = [bdf, handled, patienceMs].map((value) => value.toString(16));
    const operations = [`irq ${operands.join(" ")}`, `cr 2 ${bdf.toString(16)} ${CONFIG.status.toString(16)}`];
    const [count, status] = this.#run(operations).map((word) => Number.parseInt(word, 16)) as [number, number];
    if (count <= handled) return false;
    if ((status & STATUS.interrupt) !== 0) return true;
    Atomics.store(this.#handled, bdf, count);
    const command = this.#cpu.configRead(bdf, CONFIG.command, 2);
    this.#cpu.configWrite(bdf, CONFIG.command, 2, command & ~COMMAND.intxDisable);
    return false;
  }

  /** Of the devices that gsiOf() was asked of. */
  #functionsOn(gsi: number): number[] {
    let found = this.#functions.get(gsi);
    if (found === undefined) {
      found = [...(this.#devices.get(gsi) ?? [])].flatMap((device) => this.#functionsOf(device, gsi));
      this.#functions.set(gsi, found);
    }
    return found;
  }

  #functionsOf(device: number, gsi: number): number[] {
    const first = device << 3;
    const several = (this.#cpu.configRead(first, CONFIG.headerType, 1) & MULTI_FUNCTION) !== 0;
    const functions = several ? [0, 1, 2, 3, 4, 5, 6, 7] : [0];
    return functions
      .map((fn) => first | fn)
      .filter((bdf) => {
        const pin = this.#cpu.configRead(bdf, CONFIG.interruptPin, 1);
        return pin >= 1 && pin <= 4 && this.gsiOf(device, pin - 1) === gsi;
      });
  }
}
