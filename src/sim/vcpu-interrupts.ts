// SPDX-License-Identifier: MIT
/** The half of a vCPU that waits: for interrupts, and for the end. */

import { IoreqdError } from "../base/errors.js";
import { type Addon, loadAddon, OUT, type SimEventInjection } from "./addon.js";
import { Cpu, type CpuPlace, type VcpuReport } from "./cpu.js";
import type { GuestMsi } from "./guest.js";
import type { SimArch } from "./host.js";

/** What a thread needs to know to be a vCPU of a simulated host. */
export interface VcpuPlace extends CpuPlace {
  readonly host: number;
  readonly arch: SimArch;
  readonly roundTrips: SharedArrayBuffer;
}

/** A sleeping vCPU looks this often, in ms, whether the run was ended. */
const STOP_CHECK_MS = 50;
const SHUTDOWN_NAMES = ["powered off", "rebooted", "suspended", "crashed"];

export abstract class VcpuInterrupts extends Cpu {
  protected readonly native: Addon = loadAddon();
  protected readonly words = this.native.out;
  protected readonly host: number;
  #interruptsSeen = 0;

  constructor(place: VcpuPlace, report: (report: VcpuReport) => void) {
    super(place, report);
    this.host = place.host;
  }

  gsiOf(device: number, pin: number): number {
    return (((device << 2) + (device >> 3) + pin) & 31) + 16;
  }

  gsiLevel(gsi: number): boolean {
    return this.native.gsiLevel(this.host, gsi);
  }

  gsiEdges(gsi: number): number {
    return this.native.gsiEdges(this.host, gsi);
  }

  takeMsi(): GuestMsi | null {
    if (!this.native.takeMsi(this.host)) return null;
    const [lo, hi] = [this.words[OUT.lo] as number, this.words[OUT.hi] as number];
    return { addr: (BigInt(hi) << 32n) | BigInt(lo), data: this.words[OUT.aux] as number };
  }

  takeEvent(): SimEventInjection | null {
    return this.native.takeEvent(this.host, this.id);
  }

  waitInterrupt(ready: (() => boolean) | null = null, timeoutMs = Number.POSITIVE_INFINITY): boolean {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (ready?.() === true) return true;
      this.throwIfGone();
      const left = Math.max(0, Math.min(STOP_CHECK_MS, deadline - performance.now()));
      this.#interruptsSeen = this.native.waitInterrupt(this.host, this.#interruptsSeen, Math.ceil(left));
      const changed = this.words[OUT.aux] !== 0;
      if (ready === null && changed) return true;
      if (!changed && performance.now() >= deadline) return ready?.() ?? false;
    }
  }

  waitGsi(gsi: number, level = true, timeoutMs = Number.POSITIVE_INFINITY): boolean {
    return this.waitInterrupt(() => this.gsiLevel(gsi) === level, timeoutMs);
  }

  waitMsi(timeoutMs = 5000): GuestMsi | null {
    let message: GuestMsi | null = null;
    this.waitInterrupt(() => {
      message = this.takeMsi();
      return message !== null;
    }, timeoutMs);
    return message;
  }

  /** Throws why the guest runs no more, if so. */
  protected throwIfGone(): void {
    this.sync.throwIfStopped();
    const code = this.native.shutdownCode(this.host);
    if (code < 0) return;
    const reason = this.native.crashReason(this.host);
    if (reason !== null) throw new IoreqdError("DOMAIN_CRASHED", `Xen crashed the domain: ${reason}`, { reason });
    const name = SHUTDOWN_NAMES[code] ?? `shut down with code ${code}`;
    throw new IoreqdError("DOMAIN_SHUTDOWN", `the device model had the domain ${name}`, { code });
  }
}
