// SPDX-License-Identifier: MIT
/**
 * The demonstration guest: enumerates the bus, places BARs, drives every
 * device, takes interrupts; then, unless told `once`, goes on reading the
 * counter on all vCPUs so that there is something to watch.
 */

import { hex } from "../../base/hex.js";
import type { GuestCpu } from "../guest.js";
import { enumerate, type FoundBar, type FoundFunction, place } from "./pci.js";

/** The devices this program knows, by vendor:device, and how it tries each. */
const DRIVERS: Readonly<Record<string, (vcpu: GuestCpu, fn: FoundFunction) => void>> = {
  "1234:11e8": tryEdu,
  "1b36:0002": trySerial,
  "1b36:0005": tryTestdev,
  "1b36:0011": tryPvpanic,
};
const COUNTER = "1234:c047";

/** Reads of the counter per vCPU, in the witness step. */
const WITNESS_READS = 2000;
/** Words of the shared memory: where the counter is, and what each vCPU saw. */
const COUNTER_AT = 0;
const SEEN_AT = 16;

export default function demo(vcpu: GuestCpu): void {
  const words = new Uint32Array(vcpu.shared);
  if (vcpu.id === 0) words[COUNTER_AT] = prepare(vcpu);
  vcpu.barrier();
  const counter = words[COUNTER_AT] as number;
  witness(vcpu, words, counter);
  if (vcpu.arguments.includes("once")) return;
  for (;;) vcpu.read(counter, 4);
}

/** The work of one vCPU. Returns the address of the counter's register. */
function prepare(vcpu: GuestCpu): number {
  const functions = enumerate(vcpu);
  vcpu.step(`enumerated bus 0: ${functions.length} functions`);
  check(functions.length >= 5, `found ${functions.length} functions, at least five were expected`);
  place(vcpu, functions);
  const bars = functions.flatMap((fn) => fn.bars);
  vcpu.step(`sized and placed ${bars.length} BARs`, { tree: functions });
  let counter = 0;
  for (const fn of functions) {
    const id = `${fn.vendorId.toString(16).padStart(4, "0")}:${fn.deviceId.toString(16).padStart(4, "0")}`;
    if (id === COUNTER) counter = bar(fn, 0).address;
    else DRIVERS[id]?.(vcpu, fn);
  }
  check(counter !== 0, "there is no counter");
  return counter;
}

/** Source: QEMU docs/specs/edu.rst. */
function tryEdu(vcpu: GuestCpu, fn: FoundFunction): void {
  const base = bar(fn, 0).address;
  const read = (at: number): number => vcpu.read(base + at, 4);
  const write = (at: number, value: number): void => vcpu.write(base + at, 4, value >>> 0);
  const interrupted = (what: string): void => {
    check(vcpu.waitGsi(fn.gsi), `no interrupt for ${what}`);
    write(0x64, read(0x24));
    check(vcpu.waitGsi(fn.gsi, false), `the interrupt line stays up after ${what}`);
  };

  check(read(0x00) === 0x0100_00ed, `edu says it is ${hex(read(0))}`);
  write(0x04, 0x1234_5678);
  check(read(0x04) === ~0x1234_5678 >>> 0, "edu's liveness check fails");
  write(0x20, 0x80);
  write(0x08, 10);
  interrupted("the factorial");
  check(read(0x08) === 3_628_800, `edu thinks 10! is ${read(0x08)}`);
  write(0x60, 0x4);
  interrupted("the raised bit");
  vcpu.step(`edu ${fn.bdf}: alive, 10! = 3628800, interrupts on GSI ${fn.gsi}`);

  const memory = vcpu.dmaMemory.gpa;
  const [source, target] = [memory, memory + 0x2ff0]; // the target crosses a page
  const length = 64;
  const transfer = (from: number, to: number, command: number): void => {
    vcpu.write(base + 0x80, 8, BigInt(from));
    vcpu.write(base + 0x88, 8, BigInt(to));
    vcpu.write(base + 0x90, 8, BigInt(length));
    vcpu.write(base + 0x98, 8, BigInt(command));
    interrupted("DMA");
  };
  const sent = Uint8Array.from({ length }, (_, i) => (i * 7 + 1) & 0xff);
  vcpu.ramWrite(source, sent);
  transfer(source, 0x4_0000, 0x1 | 0x4);
  transfer(0x4_0000, target, 0x1 | 0x2 | 0x4);
  vcpu.ramRead(target, length).forEach((byte, i) => {
    check(byte === sent[i], `DMA brought a wrong byte ${i}`);
  });
  vcpu.step(`edu ${fn.bdf}: ${length} bytes by DMA to the card and back, across a page`);
}

/** A 16550A in loopback: what is sent comes back, and says so by interrupt. */
function trySerial(vcpu: GuestCpu, fn: FoundFunction): void {
  const port = bar(fn, 0).address;
  const [RBR, IER, FCR, LCR, MCR, LSR] = [0, 1, 2, 3, 4, 5] as const;
  vcpu.out8(port + LCR, 0x03);
  vcpu.out8(port + FCR, 0x07);
  vcpu.out8(port + MCR, 0x18); // loopback, OUT2: interrupts on
  vcpu.out8(port + IER, 0x01);
  const sent = "hello, guest";
  for (const character of sent) vcpu.out8(port + RBR, character.charCodeAt(0));
  check(vcpu.waitGsi(fn.gsi), "no interrupt for received bytes");
  let received = "";
  while ((vcpu.in8(port + LSR) & 0x01) !== 0) received += String.fromCharCode(vcpu.in8(port + RBR));
  check(received === sent, `the loopback gave "${received}"`);
  check(vcpu.waitGsi(fn.gsi, false), "the serial line's interrupt stays up");
  vcpu.out8(port + IER, 0);
  vcpu.out8(port + MCR, 0);
  vcpu.step(`pci-serial ${fn.bdf}: ${sent.length} bytes through its FIFO in loopback`);
}

/** Source: QEMU docs/specs/pci-testdev.rst: the header says what to write where. */
function tryTestdev(vcpu: GuestCpu, fn: FoundFunction): void {
  const memory = bar(fn, 0).address;
  vcpu.write(memory, 1, 0);
  const width = vcpu.read(memory + 1, 1) as 1 | 2 | 4;
  const offset = vcpu.read(memory + 4, 4);
  const data = vcpu.read(memory + 8, 4);
  const before = vcpu.read(memory + 12, 4);
  for (let i = 0; i < 10; i += 1) vcpu.write(memory + offset, width, data);
  const counted = vcpu.read(memory + 12, 4) - before;
  check(counted === 10, `pci-testdev counted ${counted} of 10 writes`);
  vcpu.step(`pci-testdev ${fn.bdf}: counted ${counted} writes of ${width} bytes`);
}

/** Source: QEMU docs/specs/pvpanic.rst. */
function tryPvpanic(vcpu: GuestCpu, fn: FoundFunction): void {
  const events = vcpu.read(bar(fn, 0).address, 1);
  check((events & 1) === 1, `pvpanic offers ${hex(events)}`);
  vcpu.write(bar(fn, 0).address, 1, 2);
  vcpu.step(`pvpanic ${fn.bdf}: offers events ${hex(events)}, told it of a loaded crash kernel`);
}

/** All vCPUs read the counter at once: every number exactly once. */
function witness(vcpu: GuestCpu, words: Uint32Array, counter: number): void {
  const seen = words.subarray(SEEN_AT + vcpu.id * WITNESS_READS, SEEN_AT + (vcpu.id + 1) * WITNESS_READS);
  seen.set(vcpu.readSeries(counter, 4, WITNESS_READS));
  vcpu.barrier();
  if (vcpu.id !== 0) return;
  const all = words.slice(SEEN_AT, SEEN_AT + vcpu.vcpus * WITNESS_READS).sort();
  const first = all[0] as number;
  all.forEach((value, i) => {
    check(value === first + i, `the counter gave ${value} where ${first + i} was due`);
  });
  vcpu.step(`counter: ${all.length} reads by ${vcpu.vcpus} vCPUs at once, no gap and no repeat`);
}

function bar(fn: FoundFunction, index: number): FoundBar {
  const found = fn.bars.find((candidate) => candidate.index === index);
  if (found === undefined) throw new Error(`${fn.bdf} has no BAR ${index}`);
  return found;
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
