// SPDX-License-Identifier: MIT
/** Capabilities, and messages as far as any guest can see them by itself: what is masked and pending. */

import type { GuestCpu } from "../../src/sim/guest.js";
import { CAPABILITY, CONFIG, MSI, MSIX, STATUS } from "../../src/spec/pci.js";
import { check, equal, equalEach, type GuestCase, onOne, TREE, use } from "./case.js";
import { ENTRY, EXPRESS_AT, MSI_AT, MSIX_AT, msixProbe, PROBE, resetFunction, walk } from "./msix-probe.js";

const ALL_ONES = 0xffff_ffff;

function chains(cpu: GuestCpu): void {
  const expected: Readonly<Record<string, readonly number[]>> = {
    edu: [CAPABILITY.msi],
    "msix-probe": [CAPABILITY.power, CAPABILITY.msi, CAPABILITY.express, CAPABILITY.msix],
  };
  for (const [name, bdf] of Object.entries(TREE)) {
    const found = walk(cpu, bdf).map(([id]) => id);
    const ids = expected[name] ?? [];
    check(found.join() === ids.join(), `${name}: capabilities ${found} where ${ids} were due`);
    const listed = (cpu.configRead(bdf, CONFIG.status, 2) & STATUS.capabilities) !== 0;
    check(listed === ids.length > 0, `${name}: whether STATUS says that there is a list`);
    for (const [id, at] of walk(cpu, bdf)) {
      cpu.configWrite(bdf, at, 2, ~(id | 0xff00) & 0xffff);
      equal(cpu.configRead(bdf, at, 1), id, `${name}: the id of a capability after a write`);
    }
    check(
      walk(cpu, bdf)
        .map(([id]) => id)
        .join() === ids.join(),
      `${name}: the chain after writes`,
    );
  }
}

/** Everything but the enable bit: no message may go anywhere while this runs. */
function msiRegisters(cpu: GuestCpu): void {
  const { fn, capability } = msixProbe(cpu);
  const at = capability(CAPABILITY.msi);
  const [bdf, control] = [fn.bdf, at + MSI_AT.control];
  const before = cpu.configRead(bdf, control, 2);
  equal(before & (MSI.address64 | MSI.maskable), MSI.address64 | MSI.maskable, "64-bit addresses and masks");
  const vectors = 1 << ((before >>> MSI.capableShift) & 7);
  const implemented = 2 ** vectors - 1;
  const registers: ReadonlyArray<readonly [name: string, at: number, width: 2 | 4, writable: number]> = [
    ["control", MSI_AT.control, 2, 7 << MSI.enabledShift],
    ["address", MSI_AT.address, 4, 0xffff_fffc],
    ["address high", MSI_AT.addressHigh, 4, ALL_ONES],
    ["data", MSI_AT.data, 2, 0xffff],
    ["mask", MSI_AT.mask, 4, implemented],
    ["pending", MSI_AT.pending, 4, 0],
  ];
  for (const [name, offset, width, writable] of registers) {
    const was = cpu.configRead(bdf, at + offset, width);
    const ones = width === 2 ? 0xffff : ALL_ONES;
    cpu.configWrite(bdf, at + offset, width, ones & (name === "control" ? ~MSI.enable : ones));
    equal(cpu.configRead(bdf, at + offset, width), (was | writable) >>> 0, `MSI ${name} after ones`);
    cpu.configWrite(bdf, at + offset, width, 0);
    equal(cpu.configRead(bdf, at + offset, width), (was & ~writable) >>> 0, `MSI ${name} after zeroes`);
    cpu.configWrite(bdf, at + offset, width, was);
  }
  equal(cpu.configRead(bdf, control, 2), before, "MSI control at the end");
}

function tableEntries(cpu: GuestCpu): void {
  const probe = msixProbe(cpu);
  const { fn, vectors, entry, capability } = probe;
  const control = cpu.configRead(fn.bdf, capability(CAPABILITY.msix) + MSIX_AT.control, 2);
  equal((control & 0x7ff) + 1, vectors, "the table's size");
  equal(control & (MSIX.enable | MSIX.functionMask), 0, "MSI-X, enabled or masked");
  equalEach(
    cpu.batch(Array.from({ length: vectors }, (_, n) => ({ gpa: entry(n) + ENTRY.control, width: 4 as const }))),
    () => MSIX.masked,
    (n) => `vector control of entry ${n}`,
  );
  for (const n of [0, vectors - 1]) {
    for (const [at, value, kept] of [
      [ENTRY.address, ALL_ONES, 0xffff_fffc],
      [ENTRY.addressHigh, 0x1234_5678, 0x1234_5678],
      [ENTRY.data, 0xa5a5_0000 + n, 0xa5a5_0000 + n],
      [ENTRY.control, ALL_ONES, MSIX.masked],
    ] as const) {
      cpu.write(entry(n) + at, 4, value);
      equal(cpu.read(entry(n) + at, 4), kept, `entry ${n} at 0x${at.toString(16)}`);
    }
    cpu.write(entry(n), 8, 0xfedc_ba98_7654_3213n);
    equal(cpu.read(entry(n), 8), 0xfedc_ba98_7654_3210n, `the address of entry ${n} as eight bytes`);
    equal(cpu.read(entry(n) + ENTRY.addressHigh, 4), 0xfedc_ba98, `its upper half`);
    equal(cpu.read(entry(n) + ENTRY.control, 4), MSIX.masked, "vector control beside it");
  }
  equal(cpu.read(entry(vectors), 4), 0, "what is behind the last entry");
  resetFunction(cpu, probe);
  equal(cpu.read(entry(0), 8), 0n, "an address after a reset");
}

/** With all entries masked and MSI-X enabled for a moment: nothing can go, and all of it can be seen. */
function masked(cpu: GuestCpu): void {
  const probe = msixProbe(cpu);
  const { pba, vectors, read, fire, msix } = probe;
  resetFunction(cpu, probe);
  fire(0);
  equal(read(PROBE.lost), 1, "messages lost while none are enabled");
  msix(MSIX.enable);
  equal(read(PROBE.allowed), vectors, "messages allowed");
  equal(cpu.read(pba, 8), 0n, "pending bits at first");
  fire(1, vectors - 1, 1, vectors);
  const pending = 2n | (1n << BigInt(vectors - 1));
  equal(cpu.read(pba, 8), pending, "pending bits after three of two messages");
  cpu.write(pba, 8, 0n);
  cpu.write(pba, 4, ALL_ONES);
  equal(cpu.read(pba, 8), pending, "pending bits after a guest wrote to them");
  equal(cpu.read(pba, 1), Number(pending & 0xffn), "one byte of them");
  equal(read(PROBE.asked), 5, "asked");
  equal(read(PROBE.sent), 0, "sent");
  equal(read(PROBE.waited), 2, "pending");
  equal(read(PROBE.merged), 1, "merged");
  equal(read(PROBE.lost), 2, "lost");
  resetFunction(cpu, probe);
  equal(cpu.read(pba, 8), 0n, "pending bits after a reset");
  equal(read(PROBE.asked), 0, "asked after a reset");
}

function functionReset(cpu: GuestCpu): void {
  const probe = msixProbe(cpu);
  const { bdf } = probe.fn;
  cpu.configWrite(bdf, CONFIG.cacheLine, 1, 0x55);
  const at = probe.capability(CAPABILITY.express) + EXPRESS_AT.deviceControl;
  const control = cpu.configRead(bdf, at, 2);
  resetFunction(cpu, probe);
  equal(cpu.configRead(bdf, CONFIG.cacheLine, 1), 0, "the cache line size after a reset");
  equal(cpu.configRead(bdf, at, 2), control & 0x7fff, "device control, whose reset bit reads as zero");
  equal(use(cpu, "msix-probe").bars[0] as number, probe.fn.bars[0] as number, "BAR 0, put back");
}

export const messages: readonly GuestCase[] = [
  onOne("capabilities are chained as the devices have them, and writes don't change that", chains),
  onOne("MSI's registers keep what a guest may write", msiRegisters),
  onOne("entries of the MSI-X table begin masked, and keep what a guest may write", tableEntries),
  onOne("what is masked is pending, where a guest sees it and can't write it", masked),
  onOne("a function level reset leaves the function as after power-on", functionReset),
];
