// SPDX-License-Identifier: MIT
/** What every processor that guest programs see has in common, wherever it is. */

import { VcpuSync } from "./vcpu-sync.js";

/** What a thread needs to know to be one of a guest's processors; goes to a worker as it is. */
export interface CpuPlace {
  readonly vcpu: number;
  readonly vcpus: number;
  readonly arguments: readonly string[];
  /** For VcpuSync. */
  readonly sync: SharedArrayBuffer;
  readonly shared: SharedArrayBuffer;
}

export interface VcpuReport {
  readonly kind: "step" | "log";
  readonly vcpu: number;
  readonly text: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

export abstract class Cpu {
  readonly id: number;
  readonly vcpus: number;
  readonly arguments: readonly string[];
  readonly shared: SharedArrayBuffer;
  protected readonly sync: VcpuSync;
  readonly #report: (report: VcpuReport) => void;

  constructor(place: CpuPlace, report: (report: VcpuReport) => void) {
    this.id = place.vcpu;
    this.vcpus = place.vcpus;
    this.arguments = place.arguments;
    this.shared = place.shared;
    this.sync = new VcpuSync(place.sync);
    this.#report = report;
  }

  abstract in(port: number, width: 1 | 2 | 4): number;
  abstract out(port: number, width: 1 | 2 | 4, value: number): void;

  in8(port: number): number {
    return this.in(port, 1);
  }
  in16(port: number): number {
    return this.in(port, 2);
  }
  in32(port: number): number {
    return this.in(port, 4);
  }

  out8(port: number, value: number): void {
    this.out(port, 1, value);
  }
  out16(port: number, value: number): void {
    this.out(port, 2, value);
  }
  out32(port: number, value: number): void {
    this.out(port, 4, value);
  }

  barrier(): void {
    this.sync.barrier(this.vcpus);
  }

  step(text: string, detail: Readonly<Record<string, unknown>> = {}): void {
    this.#report({ kind: "step", vcpu: this.id, text, detail });
  }

  log(text: string, detail: Readonly<Record<string, unknown>> = {}): void {
    this.#report({ kind: "log", vcpu: this.id, text, detail });
  }
}
