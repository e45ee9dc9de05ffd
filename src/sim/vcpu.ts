// SPDX-License-Identifier: MIT
/** A vCPU in this thread: GuestVcpu over host.node. */

import { IoreqdError } from "../base/errors.js";
import { hex } from "../base/hex.js";
import { OUT, RESULT, SPACE } from "./addon.js";
import { runBatch } from "./batch.js";
import { bdfNumber, cf8Value, ecamAddress } from "./config-address.js";
import type { VcpuReport } from "./cpu.js";
import type { Access, Bdf, DmaMemory, GuestVcpu, RepOptions } from "./guest.js";
import type { SimArch } from "./host.js";
import { dmaMemoryOf, ramAt } from "./ram.js";
import { KIND, RoundTripRecorder, type RoundTrips } from "./round-trips.js";
import { VcpuInterrupts, type VcpuPlace } from "./vcpu-interrupts.js";

const CF8 = 0xcf8;
const CFC = 0xcfc;

export class Vcpu extends VcpuInterrupts implements GuestVcpu {
  readonly arch: SimArch;
  readonly ram: Uint8Array;
  readonly ramView: DataView;
  readonly dmaMemory: DmaMemory;
  readonly #recorder: RoundTripRecorder;
  #answered = false;

  constructor(place: VcpuPlace, report: (report: VcpuReport) => void) {
    super(place, report);
    this.arch = place.arch;
    this.#recorder = new RoundTripRecorder(place.roundTrips, place.vcpu);
    this.ram = new Uint8Array(this.native.ram(place.host));
    this.ramView = new DataView(this.ram.buffer);
    this.dmaMemory = dmaMemoryOf(this.ram);
  }

  get answered(): boolean {
    return this.#answered;
  }

  in(port: number, width: 1 | 2 | 4): number {
    this.#access(SPACE.pio, false, port, width, 0, 0, isConfigData(port) ? KIND.configRead : KIND.pioRead);
    return this.words[OUT.lo] as number;
  }

  out(port: number, width: 1 | 2 | 4, value: number): void {
    this.#access(SPACE.pio, true, port, width, value, 0, isConfigData(port) ? KIND.configWrite : KIND.pioWrite);
  }

  read(gpa: number, width: 1 | 2 | 4): number;
  read(gpa: number, width: 8): bigint;
  read(gpa: number, width: 1 | 2 | 4 | 8): number | bigint {
    this.#access(SPACE.mmio, false, gpa, width, 0, 0, this.#kindAt(gpa, KIND.mmioRead));
    const lo = this.words[OUT.lo] as number;
    return width === 8 ? (BigInt(this.words[OUT.hi] as number) << 32n) | BigInt(lo) : lo;
  }

  write(gpa: number, width: 1 | 2 | 4 | 8, value: number | bigint): void {
    if (typeof value === "bigint") {
      const lo = Number(BigInt.asUintN(32, value));
      const hi = Number(BigInt.asUintN(32, value >> 32n));
      this.#access(SPACE.mmio, true, gpa, width, lo, hi, this.#kindAt(gpa, KIND.mmioWrite));
    } else {
      this.#access(SPACE.mmio, true, gpa, width, value, 0, this.#kindAt(gpa, KIND.mmioWrite));
    }
  }

  readSeries(gpa: number, width: 1 | 2 | 4, count: number): Uint32Array {
    return Uint32Array.from({ length: count }, () => this.read(gpa, width));
  }

  batch(accesses: readonly Access[]): number[] {
    return runBatch(this, accesses);
  }

  ramRead(gpa: number, length: number): Uint8Array {
    return ramAt(this.ram, gpa, length).slice();
  }

  ramWrite(gpa: number, bytes: Uint8Array): void {
    ramAt(this.ram, gpa, bytes.length).set(bytes);
  }

  readBytes(gpa: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.sync.throwIfStopped();
    this.#finish(this.native.mmio(this.host, this.id, false, gpa, bytes), this.#kindAt(gpa, KIND.mmioRead), gpa);
    return bytes;
  }

  writeBytes(gpa: number, bytes: Uint8Array): void {
    this.sync.throwIfStopped();
    this.#finish(this.native.mmio(this.host, this.id, true, gpa, bytes), this.#kindAt(gpa, KIND.mmioWrite), gpa);
  }

  vgaWrite(gpa: number, width: 1 | 2 | 4, value: number): void {
    this.sync.throwIfStopped();
    this.#finish(this.native.vgaWrite(this.host, this.id, gpa, width, value, 0), KIND.mmioWrite, gpa);
  }

  repIns(port: number, gpa: number, width: 1 | 2 | 4, count: number, options: RepOptions = {}): number {
    return this.#rep(SPACE.pio, true, port, gpa, width, count, options);
  }

  repOuts(port: number, gpa: number, width: 1 | 2 | 4, count: number, options: RepOptions = {}): number {
    return this.#rep(SPACE.pio, false, port, gpa, width, count, options);
  }

  repMovs(to: number, from: number, width: 1 | 2 | 4 | 8, count: number, options: RepOptions = {}): number {
    const toRam = to < this.ram.length;
    return this.#rep(SPACE.mmio, toRam, toRam ? from : to, toRam ? to : from, width, count, options);
  }

  repStos(to: number, width: 1 | 2 | 4 | 8, value: number | bigint, count: number, options: RepOptions = {}): void {
    const bits = BigInt.asUintN(64, BigInt(value));
    const lo = Number(bits & 0xffff_ffffn);
    const hi = Number(bits >> 32n);
    this.sync.throwIfStopped();
    const result = this.native.repStos(this.host, this.id, to, lo, hi, width, count, options.backwards === true);
    this.#finish(result, this.#kindAt(to, KIND.rep), to);
  }

  configRead(bdf: Bdf, offset: number, width: 1 | 2 | 4): number {
    const at = bdfNumber(bdf);
    if (this.arch === "arm") return this.read(ecamAddress(at, offset), width);
    return this.#withConfigLock(() => {
      this.out32(CF8, cf8Value(at, offset));
      return this.in(CFC + (offset & 3), width);
    });
  }

  configWrite(bdf: Bdf, offset: number, width: 1 | 2 | 4, value: number): void {
    const at = bdfNumber(bdf);
    if (this.arch === "arm") {
      this.write(ecamAddress(at, offset), width, value);
      return;
    }
    this.#withConfigLock(() => {
      this.out32(CF8, cf8Value(at, offset));
      this.out(CFC + (offset & 3), width, value);
    });
  }

  balloonOut(gfn: number): void {
    this.#balloon("balloon out", gfn, this.native.decreaseReservation(this.host, this.id, gfn));
  }

  balloonIn(gfn: number): void {
    this.#balloon("balloon in", gfn, this.native.populate(this.host, gfn));
  }

  invalidate(): void {
    this.sync.throwIfStopped();
    this.#finish(this.native.invalidate(this.host, this.id), KIND.invalidate, 0);
  }

  sendTimeoffset(seconds: number): void {
    this.native.sendTimeoffset(this.host, seconds);
  }

  raw(ioreq: Uint8Array): void {
    this.sync.throwIfStopped();
    this.#finish(this.native.raw(this.host, this.id, ioreq), null, 0);
  }

  writeShared(at: number, width: 1 | 2 | 4, value: number): boolean {
    return this.native.writeShared(this.host, at, width, value, 0);
  }

  rawBuffered(ioreq: Uint8Array): boolean {
    const result = this.native.rawBuffered(this.host, ioreq);
    this.#finish(result, null, 0);
    return result === RESULT.handled;
  }

  get lastNs(): number {
    return this.words[OUT.ns] as number;
  }

  roundTrips(): RoundTrips {
    return this.#recorder.summary();
  }

  resetRoundTrips(): void {
    this.#recorder.reset();
  }

  #access(
    space: number,
    write: boolean,
    address: number,
    width: number,
    lo: number,
    hi: number,
    kind: number | null,
  ): void {
    this.sync.throwIfStopped();
    this.#finish(this.native.access(this.host, this.id, space, write, address, width, lo, hi), kind, address);
  }

  #rep(
    space: number,
    toRam: boolean,
    address: number,
    ram: number,
    width: number,
    count: number,
    options: RepOptions,
  ): number {
    this.sync.throwIfStopped();
    const backwards = options.backwards === true;
    const result = this.native.rep(this.host, this.id, space, toRam, address, ram, width, count, backwards);
    const done = this.words[OUT.lo] as number;
    this.#finish(result, space === SPACE.pio ? KIND.rep : this.#kindAt(address, KIND.rep), address);
    return done;
  }

  /** RAM answers without a round trip: not a figure to keep. */
  #kindAt(gpa: number, kind: number): number | null {
    return gpa < this.ram.length ? null : kind;
  }

  #finish(result: number, kind: number | null, address: number): void {
    this.#answered = result === RESULT.handled;
    if (this.#answered) {
      if (kind !== null) this.#recorder.record(kind, this.words[OUT.ns] as number);
    } else if (result !== RESULT.unhandled) {
      this.throwIfGone();
      if (result === RESULT.stopped) throw new IoreqdError("GUEST_STOPPED", "the simulated host was stopped");
      throw new IoreqdError("DATA_ABORT", `vCPU ${this.id} took a data abort: nobody claims ${hex(address)}`, {
        vcpu: this.id,
        address: hex(address),
      });
    }
  }

  #balloon(what: string, gfn: number, errno: number): void {
    if (errno === 0) return;
    this.throwIfGone();
    throw new IoreqdError(
      "BALLOON_FAILED",
      `${what} frame ${hex(gfn)}: errno ${errno} (is it a hole, or populated, already?)`,
      { gfn: hex(gfn), errno },
    );
  }

  #withConfigLock<T>(body: () => T): T {
    if (this.vcpus === 1) return body();
    this.sync.lock(); // CF8 is one register for the whole domain
    try {
      return body();
    } finally {
      this.sync.unlock();
    }
  }
}

function isConfigData(port: number): boolean {
  return (port & ~3) === CFC;
}
