// SPDX-License-Identifier: MIT
/** GuestCpu over the agent in a Linux guest on a real Xen. */

import { IoreqdError } from "../../../src/base/errors.js";
import { bdfNumber } from "../../../src/sim/config-address.js";
import { Cpu, type CpuPlace, type VcpuReport } from "../../../src/sim/cpu.js";
import type { Access, Bdf, DmaMemory, GuestCpu, RepOptions } from "../../../src/sim/guest.js";
import { Lines } from "./lines.js";
import { type Mailbox, MailboxCaller } from "./mailbox.js";
import { decodeSeries, resultsOf } from "./protocol.js";

/** What a thread needs to know to be a vCPU of a guest on a real Xen. */
export interface RemotePlace extends CpuPlace {
  readonly dmaMemory: DmaMemory;
  readonly mailbox: Mailbox;
  /** For Lines. */
  readonly handled: SharedArrayBuffer;
}

/** A request is a line of the console: longer ones are cut into several. */
const MOST_IN_A_LINE = 256;

const digits = (value: number | bigint): string =>
  (typeof value === "bigint" ? BigInt.asUintN(64, value) : value >>> 0).toString(16);
/** Addresses are beyond 32 bits, so >>> would cut them. */
const address = (value: number): string => {
  if (Number.isSafeInteger(value) && value >= 0) return value.toString(16);
  throw new IoreqdError("BAD_VALUE", `address ${value}: a whole number from 0 is possible`, { value });
};

export class RemoteCpu extends Cpu implements GuestCpu {
  readonly arch = "x86";
  readonly dmaMemory: DmaMemory;
  readonly #caller: MailboxCaller;
  readonly #lines: Lines;

  constructor(place: RemotePlace, report: (report: VcpuReport) => void) {
    super(place, report);
    this.dmaMemory = place.dmaMemory;
    this.#caller = new MailboxCaller(place.mailbox);
    this.#lines = new Lines(this, (operations) => this.#request(operations), place.handled);
  }

  in(port: number, width: 1 | 2 | 4): number {
    return this.#number(`in ${width} ${address(port)}`);
  }

  out(port: number, width: 1 | 2 | 4, value: number): void {
    this.#run(`out ${width} ${address(port)} ${digits(value)}`);
  }

  read(gpa: number, width: 1 | 2 | 4): number;
  read(gpa: number, width: 8): bigint;
  read(gpa: number, width: 1 | 2 | 4 | 8): number | bigint {
    const result = this.#run(`ld ${width} ${address(gpa)}`);
    return width === 8 ? BigInt(`0x${result}`) : Number.parseInt(result, 16);
  }

  write(gpa: number, width: 1 | 2 | 4 | 8, value: number | bigint): void {
    this.#run(`st ${width} ${address(gpa)} ${digits(value)}`);
  }

  readSeries(gpa: number, width: 1 | 2 | 4, count: number): Uint32Array {
    return decodeSeries(this.#run(`ld ${width} ${address(gpa)} ${address(count)}`), width);
  }

  /** One request for many. */
  batch(accesses: readonly Access[]): number[] {
    const results: number[] = [];
    for (let from = 0; from < accesses.length; from += MOST_IN_A_LINE) {
      const part = accesses.slice(from, from + MOST_IN_A_LINE);
      const words = this.#request(part.map(operationOf));
      results.push(...part.map(({ value }, i) => (value === undefined ? Number.parseInt(words[i] as string, 16) : 0)));
    }
    return results;
  }

  repIns(port: number, gpa: number, width: 1 | 2 | 4, count: number, options: RepOptions = {}): number {
    return this.#rep("ins", width, port, gpa, count, options);
  }

  repOuts(port: number, gpa: number, width: 1 | 2 | 4, count: number, options: RepOptions = {}): number {
    return this.#rep("outs", width, port, gpa, count, options);
  }

  repMovs(to: number, from: number, width: 1 | 2 | 4 | 8, count: number, options: RepOptions = {}): number {
    return this.#rep("movs", width, to, from, count, options);
  }

  configRead(bdf: Bdf, offset: number, width: 1 | 2 | 4): number {
    return this.#number(`cr ${width} ${address(bdfNumber(bdf))} ${address(offset)}`);
  }

  configWrite(bdf: Bdf, offset: number, width: 1 | 2 | 4, value: number): void {
    this.#run(`cw ${width} ${address(bdfNumber(bdf))} ${address(offset)} ${digits(value)}`);
  }

  ramRead(gpa: number, length: number): Uint8Array {
    this.#checkRam(gpa, length);
    return Uint8Array.from(Buffer.from(this.#run(`rb ${address(gpa)} ${address(length)}`), "hex"));
  }

  ramWrite(gpa: number, bytes: Uint8Array): void {
    this.#checkRam(gpa, bytes.length);
    this.#run(`wb ${address(gpa)} ${Buffer.from(bytes).toString("hex")}`);
  }

  gsiOf(device: number, pin: number): number {
    return this.#lines.gsiOf(device, pin);
  }

  gsiLevel(gsi: number): boolean {
    return this.#lines.level(gsi);
  }

  waitGsi(gsi: number, level = true, timeoutMs = Number.POSITIVE_INFINITY): boolean {
    return this.#lines.wait(gsi, level, timeoutMs);
  }

  #rep(name: string, width: number, a: number, b: number, count: number, { backwards }: RepOptions): number {
    if (count === 0) return 0;
    const operands = [a, b, count].map(address).join(" ");
    return this.#number(`${name} ${width} ${operands}${backwards === true ? " down" : ""}`);
  }

  /** What is outside belongs to the guest's kernel. */
  #checkRam(gpa: number, length: number): void {
    const { gpa: first, length: room } = this.dmaMemory;
    if (gpa >= first && gpa + length <= first + room) return;
    throw new IoreqdError("BAD_VALUE", `${length} bytes at ${gpa.toString(16)}: programs may use dmaMemory only`);
  }

  #number(operation: string): number {
    return Number.parseInt(this.#run(operation), 16);
  }

  #run(operation: string): string {
    return this.#request([operation])[0] as string;
  }

  #request(operations: readonly string[]): string[] {
    this.sync.throwIfStopped();
    return resultsOf(this.#caller.call(operations.join(";")), operations);
  }
}

function operationOf(access: Access): string {
  const { width, value } = access;
  const given = value === undefined ? "" : ` ${digits(value)}`;
  const write = value !== undefined;
  if ("port" in access) return `${write ? "out" : "in"} ${width} ${address(access.port)}${given}`;
  if ("gpa" in access) return `${write ? "st" : "ld"} ${width} ${address(access.gpa)}${given}`;
  return `${write ? "cw" : "cr"} ${width} ${address(bdfNumber(access.config))} ${address(access.at)}${given}`;
}
