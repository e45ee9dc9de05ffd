// SPDX-License-Identifier: MIT
/** Each device, as its driver uses it. */

import type { GuestCpu } from "../../src/sim/guest.js";
import { COMMAND, CONFIG, STATUS } from "../../src/spec/pci.js";
import { check, equal, equalEach, type GuestCase, onOne, type Used, use } from "./case.js";
import { EDU, EDU_DMA, EDU_STATUS } from "./edu.js";

const WAIT_MS = 60_000;
/** How long nothing must come. */
const QUIET_MS = 500;
const ALL_ONES = 0xffff_ffff;

function edu(cpu: GuestCpu): { fn: Used; read(at: number): number; write(at: number, value: number): void } {
  const fn = use(cpu, "edu");
  const base = fn.bars[0] as number;
  return { fn, read: (at) => cpu.read(base + at, 4), write: (at, value) => cpu.write(base + at, 4, value >>> 0) };
}

function acknowledge(cpu: GuestCpu, { fn, read, write }: ReturnType<typeof edu>, what: string): void {
  check(cpu.waitGsi(fn.gsi, true, WAIT_MS), `no interrupt for ${what}`);
  write(EDU.irqAck, read(EDU.irqStatus));
  equal(read(EDU.irqStatus), 0, "edu's interrupt status after it was acknowledged");
  check(cpu.waitGsi(fn.gsi, false, WAIT_MS), `the line stays up after ${what}`);
}

function liveness(cpu: GuestCpu): void {
  const { read, write } = edu(cpu);
  equal(read(EDU.id), 0x0100_00ed, "edu's id");
  for (const value of [0, 0x1234_5678, 0x8000_0000, ALL_ONES]) {
    write(EDU.live, value);
    equal(read(EDU.live), ~value >>> 0, "the inverse");
  }
}

function factorial(cpu: GuestCpu): void {
  const card = edu(cpu);
  card.write(EDU.status, EDU_STATUS.interrupt);
  card.write(EDU.factorial, 12);
  acknowledge(cpu, card, "the factorial");
  equal(card.read(EDU.factorial), 479_001_600, "12!");
  card.write(EDU.status, 0);
  card.write(EDU.factorial, 5);
  while ((card.read(EDU.status) & EDU_STATUS.computing) !== 0);
  equal(card.read(EDU.factorial), 120, "5!");
  equal(card.read(EDU.irqStatus), 0, "the interrupt status, without the interrupt bit");
}

function interrupts(cpu: GuestCpu): void {
  const card = edu(cpu);
  for (const bits of [0x1, 0x8000_0000, 0xff]) {
    card.write(EDU.irqRaise, bits);
    equal(card.read(EDU.irqStatus), bits, "the interrupt status");
    equal(cpu.configRead(card.fn.bdf, CONFIG.status, 2) & STATUS.interrupt, STATUS.interrupt, "the status bit");
    acknowledge(cpu, card, `the raised bits 0x${bits.toString(16)}`);
    equal(cpu.configRead(card.fn.bdf, CONFIG.status, 2) & STATUS.interrupt, 0, "the status bit after it");
  }
}

function masked(cpu: GuestCpu): void {
  const card = edu(cpu);
  const { bdf, gsi } = card.fn;
  check(!cpu.gsiLevel(gsi), "the line is up at the start");
  const command = cpu.configRead(bdf, CONFIG.command, 2);
  cpu.configWrite(bdf, CONFIG.command, 2, command | COMMAND.intxDisable);
  card.write(EDU.irqRaise, 2);
  check(!cpu.waitGsi(gsi, true, QUIET_MS), "an interrupt came though COMMAND bit 10 was set");
  equal(cpu.configRead(bdf, CONFIG.status, 2) & STATUS.interrupt, STATUS.interrupt, "the status bit under the mask");
  cpu.configWrite(bdf, CONFIG.command, 2, command & ~COMMAND.intxDisable);
  acknowledge(cpu, card, "the mask was taken away");
}

/** There and back, where a page ends in the middle. */
function dma(cpu: GuestCpu): void {
  const card = edu(cpu);
  const base = card.fn.bars[0] as number;
  const [source, target] = [cpu.dmaMemory.gpa + 0x1f00, cpu.dmaMemory.gpa + 0x4ff0];
  const length = 0x300;
  const transfer = (from: number, to: number, command: number): void => {
    cpu.write(base + EDU.dmaFrom, 8, BigInt(from));
    cpu.write(base + EDU.dmaTo, 8, BigInt(to));
    cpu.write(base + EDU.dmaLength, 8, BigInt(length));
    cpu.write(base + EDU.dmaCommand, 8, BigInt(command | EDU_DMA.run | EDU_DMA.interrupt));
    acknowledge(cpu, card, "DMA");
  };
  const sent = Uint8Array.from({ length }, (_, i) => (i * 13 + 5) & 0xff);
  cpu.ramWrite(source, sent);
  cpu.ramWrite(target - 1, new Uint8Array(length + 2).fill(0xee));
  transfer(source, EDU.buffer, 0);
  transfer(EDU.buffer, target, EDU_DMA.toGuest);
  const all = cpu.ramRead(target - 1, length + 2);
  equal(all[0] as number, 0xee, "the byte before");
  equal(all[length + 1] as number, 0xee, "the byte after");
  equalEach(
    all.subarray(1, length + 1),
    (i) => sent[i] as number,
    (i) => `byte ${i}`,
  );
}

/** Without bus mastering a transfer reaches nothing. */
function dmaForbidden(cpu: GuestCpu): void {
  const card = edu(cpu);
  const base = card.fn.bars[0] as number;
  const target = cpu.dmaMemory.gpa + 0x8000;
  const command = cpu.configRead(card.fn.bdf, CONFIG.command, 2);
  cpu.ramWrite(target, new Uint8Array(16).fill(0x77));
  cpu.configWrite(card.fn.bdf, CONFIG.command, 2, command & ~COMMAND.busMaster);
  cpu.write(base + EDU.dmaFrom, 8, BigInt(EDU.buffer));
  cpu.write(base + EDU.dmaTo, 8, BigInt(target));
  cpu.write(base + EDU.dmaLength, 8, 16n);
  cpu.write(base + EDU.dmaCommand, 8, BigInt(EDU_DMA.run | EDU_DMA.toGuest));
  while ((cpu.read(base + EDU.dmaCommand, 4) & EDU_DMA.run) !== 0);
  cpu.configWrite(card.fn.bdf, CONFIG.command, 2, command);
  for (const byte of cpu.ramRead(target, 16)) equal(byte, 0x77, "memory that DMA may not reach");
}

/** Source: QEMU docs/specs/pci-testdev.rst: the header says what to write where. */
function testdev(cpu: GuestCpu): void {
  const fn = use(cpu, "pci-testdev");
  const memory = fn.bars[0] as number;
  cpu.write(memory, 1, 0);
  const width = cpu.read(memory + 1, 1) as 1 | 2 | 4;
  const offset = cpu.read(memory + 4, 4);
  const data = cpu.read(memory + 8, 4);
  cpu.batch(Array.from({ length: 20 }, () => ({ gpa: memory + offset, width, value: data })));
  equal(cpu.read(memory + 12, 4), 20, "writes that pci-testdev counted in memory");
  const port = fn.bars[1] as number;
  cpu.out8(port, 0);
  cpu.batch(Array.from({ length: 20 }, () => ({ port: port + cpu.in32(port + 4), width, value: data })));
  equal(cpu.in32(port + 12), 20, "writes that pci-testdev counted at ports");
  const name = Array.from({ length: 32 }, (_, i) => ({ gpa: memory + 0x10 + i, width: 1 as const }));
  const text = String.fromCharCode(...cpu.batch(name)).replace(/\0.*$/, "");
  check(text === "mmio-no-eventfd", `pci-testdev's test is called "${text}"`);
}

/** Source: QEMU docs/specs/pvpanic.rst. */
function pvpanic(cpu: GuestCpu): void {
  const address = use(cpu, "pvpanic").bars[0] as number;
  equal(cpu.read(address, 1), 7, "the events that pvpanic offers");
  cpu.write(address, 1, 2);
  equal(cpu.read(address, 1), 7, "the events after one was told");
  equal(cpu.read(address, 4), ALL_ONES, "four bytes of a register of one");
}

/** A 16550A in loopback: what is sent comes back, and says so by interrupt. */
function serial(cpu: GuestCpu): void {
  const fn = use(cpu, "pci-serial");
  const port = fn.bars[0] as number;
  const [RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
  cpu.out8(port + LCR, 0x83);
  cpu.out8(port + RBR, 0x01); // divisor latch
  cpu.out8(port + IER, 0x00);
  cpu.out8(port + LCR, 0x03);
  cpu.out8(port + SCR, 0xa5);
  equal(cpu.in8(port + SCR), 0xa5, "the scratch register");
  cpu.out8(port + IIR, 0x07); // FIFO on and empty
  cpu.out8(port + MCR, 0x1b); // loopback, DTR, RTS, OUT2: interrupts on
  equal(cpu.in8(port + MSR) & 0xf0, 0xb0, "the modem status in loopback");
  cpu.out8(port + IER, 0x01);
  const sent = "0123456789abcdef";
  cpu.batch([...sent].map((character) => ({ port: port + RBR, width: 1 as const, value: character.charCodeAt(0) })));
  check(cpu.waitGsi(fn.gsi, true, WAIT_MS), "no interrupt for received bytes");
  let received = "";
  while ((cpu.in8(port + LSR) & 0x01) !== 0) received += String.fromCharCode(cpu.in8(port + RBR));
  check(received === sent, `the loopback gave "${received}"`);
  check(cpu.waitGsi(fn.gsi, false, WAIT_MS), "the serial line's interrupt stays up");
  cpu.out8(port + IER, 0);
  cpu.out8(port + MCR, 0);
  cpu.out8(port + IIR, 0);
}

export const devices: readonly GuestCase[] = [
  onOne("edu is alive", liveness),
  onOne("edu computes a factorial, and says so by interrupt when asked to", factorial),
  onOne("edu raises and lowers its line, and the status bit follows", interrupts),
  onOne("COMMAND bit 10 keeps the line down, and taking it away lets it up", masked),
  onOne("edu's DMA goes to the card and back, across a page", dma),
  onOne("edu's DMA reaches nothing while bus mastering is off", dmaForbidden),
  onOne("pci-testdev counts what is written, in memory and at ports", testdev),
  onOne("pvpanic offers its events in one byte", pvpanic),
  onOne("pci-serial gives back in loopback what was sent", serial),
];
