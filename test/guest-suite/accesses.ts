// SPDX-License-Identifier: MIT
/** Accesses themselves: exactly once, in any width, and by rep instructions. */

import type { GuestCpu } from "../../src/sim/guest.js";
import { check, equal, equalEach, type GuestCase, onOne, use, VCPUS } from "./case.js";

const READS = 1000;
const COUNTER = { next: 0x00, count: 0x04, reset: 0x08, scratch: 0x0c } as const;
/** Words of the shared memory: where the counter is, and what each vCPU saw. */
const AT = 0;
const SEEN = 16;

/** Every number exactly once, by a loop in the guest on each vCPU. */
function witness(cpu: GuestCpu): void {
  const words = new Uint32Array(cpu.shared);
  if (cpu.id === 0) words[AT] = use(cpu, "counter").bars[0] as number;
  cpu.barrier();
  const address = words[AT] as number;
  words.set(cpu.readSeries(address + COUNTER.next, 4, READS), SEEN + cpu.id * READS);
  cpu.barrier();
  if (cpu.id !== 0) return;
  const all = words.slice(SEEN, SEEN + cpu.vcpus * READS).sort();
  const first = all[0] as number;
  equalEach(
    all,
    (i) => first + i,
    (i) => `value ${i} of ${all.length}`,
  );
  equal(cpu.read(address + COUNTER.count, 4), first + all.length, "reads that the counter counted");
}

/** Each vCPU has its own register, and finds there what it wrote, while the other writes. */
function twoAtOnce(cpu: GuestCpu): void {
  const words = new Uint32Array(cpu.shared);
  if (cpu.id === 0)
    words.set([(use(cpu, "counter").bars[0] as number) + COUNTER.scratch, (use(cpu, "edu").bars[0] as number) + 4]);
  cpu.barrier();
  const address = words[cpu.id % 2] as number;
  const inverted = cpu.id % 2 === 1;
  for (let round = 0; round < 20; round += 1) {
    const value = ((cpu.id << 16) | round) >>> 0;
    const [, read] = cpu.batch([
      { gpa: address, width: 4, value },
      { gpa: address, width: 4 },
    ]);
    equal(read as number, inverted ? ~value >>> 0 : value, `round ${round} on vCPU ${cpu.id}`);
  }
}

function widths(cpu: GuestCpu): void {
  const address = (use(cpu, "counter").bars[0] as number) + COUNTER.scratch;
  cpu.write(address, 4, 0x8142_2418);
  equal(cpu.read(address, 1), 0x18, "byte 0");
  equal(cpu.read(address + 1, 1), 0x24, "byte 1");
  equal(cpu.read(address + 2, 2), 0x8142, "the upper half");
  equal(cpu.read(address + 1, 2), 0x4224, "the middle");
  cpu.write(address + 1, 1, 0xff);
  equal(cpu.read(address, 4), 0x8142_ff18, "after a byte was written");
  cpu.write(address + 2, 2, 0x1234);
  equal(cpu.read(address, 4), 0x1234_ff18, "after a half was written");
}

/** NEXT and COUNT lie side by side: eight bytes are both, low half first. */
function eightBytes(cpu: GuestCpu): void {
  const address = use(cpu, "counter").bars[0] as number;
  cpu.write(address + COUNTER.reset, 4, 0);
  equal(cpu.read(address, 8), 0x1_0000_0000n, "NEXT and COUNT after a reset");
  equal(cpu.read(address, 8), 0x2_0000_0001n, "both again");
}

function ports(cpu: GuestCpu): void {
  const port = use(cpu, "counter").bars[1] as number;
  cpu.out32(port + COUNTER.scratch, 0xa1b2_c3d4);
  equal(cpu.in32(port + COUNTER.scratch), 0xa1b2_c3d4, "four bytes of a port");
  equal(cpu.in16(port + COUNTER.scratch + 2), 0xa1b2, "two");
  equal(cpu.in8(port + COUNTER.scratch + 1), 0xc3, "one");
  cpu.out8(port + COUNTER.scratch, 0x11);
  equal(cpu.in32(port + COUNTER.scratch), 0xa1b2_c311, "after a byte was written");
}

const wordsIn = (cpu: GuestCpu, gpa: number, count: number): Uint32Array =>
  new Uint32Array(cpu.ramRead(gpa, count * 4).buffer);

/** More than a page, from the middle of one. */
function repIns(cpu: GuestCpu): void {
  const port = use(cpu, "counter").bars[1] as number;
  const gpa = cpu.dmaMemory.gpa + 0xff0;
  const count = 1100;
  cpu.out32(port + COUNTER.reset, 0);
  equal(cpu.repIns(port, gpa, 4, count), count, "elements that rep ins moved");
  equalEach(
    wordsIn(cpu, gpa, count),
    (i) => i,
    (i) => `element ${i}`,
  );
}

function repInsBackwards(cpu: GuestCpu): void {
  const port = use(cpu, "counter").bars[1] as number;
  const gpa = cpu.dmaMemory.gpa + 0x2000;
  cpu.out32(port + COUNTER.reset, 0);
  equal(cpu.repIns(port, gpa + 9 * 4, 4, 10, { backwards: true }), 10, "elements that rep ins moved backwards");
  equalEach(
    wordsIn(cpu, gpa, 10),
    (i) => 9 - i,
    (i) => `element ${i}`,
  );
}

function repOuts(cpu: GuestCpu): void {
  const fn = use(cpu, "pci-testdev");
  const port = fn.bars[1] as number;
  const gpa = cpu.dmaMemory.gpa + 0x3f80;
  cpu.out8(port, 0);
  const [target, data] = [port + cpu.in32(port + 4), cpu.in32(port + 8)];
  cpu.ramWrite(gpa, new Uint8Array(200).fill(data));
  equal(cpu.repOuts(target, gpa, 1, 200), 200, "elements that rep outs moved");
  equal(cpu.in32(port + 12), 200, "writes that pci-testdev counted");
}

function repMovs(cpu: GuestCpu): void {
  const memory = use(cpu, "pci-testdev").bars[0] as number;
  const gpa = cpu.dmaMemory.gpa + 0x5ff8;
  equal(cpu.repMovs(gpa, memory + 0x10, 1, 15), 15, "bytes that rep movs moved");
  const name = String.fromCharCode(...cpu.ramRead(gpa, 15));
  check(name === "mmio-no-eventfd", `rep movs brought "${name}"`);
}

function reservedHoles(cpu: GuestCpu): void {
  const memory = use(cpu, "counter").bars[0] as number;
  equal(cpu.read(memory + 0x800, 4), 0, "a hole of the counter");
  cpu.write(memory + 0x800, 4, 0x1234);
  equal(cpu.read(memory + 0x800, 4), 0, "the hole after a write");
}

export const accesses: readonly GuestCase[] = [
  {
    name: "every number of the counter is read exactly once by vCPUs that read at once",
    vcpus: VCPUS,
    program: witness,
  },
  { name: "each vCPU reads back what it wrote while the other writes elsewhere", vcpus: VCPUS, program: twoAtOnce },
  onOne("parts of a register in memory are read and written by themselves", widths),
  onOne("eight bytes are two registers, the lower one first", eightBytes),
  onOne("ports are read and written in each width", ports),
  onOne("holes between registers read as zero", reservedHoles),
  onOne("rep ins fills memory across a page", repIns),
  onOne("rep ins fills memory backwards", repInsBackwards),
  onOne("rep outs writes each element once", repOuts),
  onOne("rep movs copies from a device to memory", repMovs),
];
