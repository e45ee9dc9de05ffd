// SPDX-License-Identifier: MIT
/** What an operating system does with a PCI bus: enumerate, size, place, enable. Source: PCI 3.0 6.2.5.1; Linux drivers/pci/probe.c. */

import { BAR, COMMAND, CONFIG, MULTI_FUNCTION } from "../../spec/pci.js";
import type { GuestCpu } from "../guest.js";

export interface FoundBar {
  readonly index: number | "rom";
  readonly space: "mem32" | "mem64" | "io" | "rom";
  readonly prefetchable: boolean;
  readonly size: number;
  /** Where it is decoded; 0 until it is placed. */
  address: number;
}

export interface FoundFunction {
  /** "00:10.0" */
  readonly bdf: string;
  readonly device: number;
  readonly vendorId: number;
  readonly deviceId: number;
  readonly classCode: number;
  readonly revision: number;
  readonly multiFunction: boolean;
  /** 0 none, 1 INTA … 4 INTD. */
  readonly pin: number;
  readonly gsi: number;
  readonly bars: FoundBar[];
}

/** Where BARs go. Below 4 GiB and above RAM; away from the legacy ports. */
export interface Windows {
  memory: number;
  ports: number;
}

export const WINDOWS: Readonly<Windows> = { memory: 0xf000_0000, ports: 0xc000 };

const NOBODY = 0xffff;

/** Every function on bus 0, in order, BARs sized. */
export function enumerate(vcpu: GuestCpu): FoundFunction[] {
  const found: FoundFunction[] = [];
  for (let device = 0; device < 32; device += 1) {
    const first = probe(vcpu, device, 0);
    if (first === null) continue;
    found.push(first);
    if (!first.multiFunction) continue;
    for (let fn = 1; fn < 8; fn += 1) {
      const other = probe(vcpu, device, fn);
      if (other !== null) found.push(other);
    }
  }
  return found;
}

/** The function at this place, BARs sized; null where there is none. */
export function probe(vcpu: GuestCpu, device: number, fn: number): FoundFunction | null {
  const bdf = `00:${device.toString(16).padStart(2, "0")}.${fn}`;
  const vendorId = vcpu.configRead(bdf, CONFIG.vendor, 2);
  if (vendorId === NOBODY) return null;
  const classAndRevision = vcpu.configRead(bdf, CONFIG.revision, 4);
  const pin = vcpu.configRead(bdf, CONFIG.interruptPin, 1);
  return {
    bdf,
    device,
    vendorId,
    deviceId: vcpu.configRead(bdf, CONFIG.device, 2),
    classCode: classAndRevision >>> 8,
    revision: classAndRevision & 0xff,
    multiFunction: (vcpu.configRead(bdf, CONFIG.headerType, 1) & MULTI_FUNCTION) !== 0,
    pin,
    gsi: pin === 0 ? 0 : vcpu.gsiOf(device, pin - 1),
    bars: sizeBars(vcpu, bdf),
  };
}

/** With decoding off, write ones and read back which bits stay. */
function sizeBars(vcpu: GuestCpu, bdf: string): FoundBar[] {
  const command = vcpu.configRead(bdf, CONFIG.command, 2);
  vcpu.configWrite(bdf, CONFIG.command, 2, command & ~(COMMAND.io | COMMAND.memory));
  const bars: FoundBar[] = [];
  for (let index = 0; index < 6; index += 1) {
    const at = CONFIG.bar0 + index * 4;
    const [kind, mask] = sizeRegister(vcpu, bdf, at, 0xffff_ffff);
    if (mask === 0) continue;
    if ((kind & BAR.io) !== 0) {
      bars.push({
        index,
        space: "io",
        prefetchable: false,
        size: (~(mask & ~3) >>> 0) + 1,
        address: (kind & ~3) >>> 0,
      });
      continue;
    }
    const prefetchable = (kind & BAR.prefetchable) !== 0;
    let size = (~(mask & ~15) >>> 0) + 1;
    let address = (kind & ~15) >>> 0;
    const wide = (kind & BAR.mem64) !== 0;
    if (wide) {
      const [above, high] = sizeRegister(vcpu, bdf, at + 4, 0xffff_ffff);
      address += above * 0x1_0000_0000;
      if (high !== 0xffff_ffff) size += ((~high >>> 0) + 0) * 0x1_0000_0000;
    }
    bars.push({ index, space: wide ? "mem64" : "mem32", prefetchable, size, address });
    if (wide) index += 1;
  }
  const [at, rom] = sizeRegister(vcpu, bdf, CONFIG.rom, ~BAR.romEnable >>> 0);
  if (rom !== 0) {
    const size = (~(rom & ~0x7ff) >>> 0) + 1;
    bars.push({ index: "rom", space: "rom", prefetchable: false, size, address: (at & ~0x7ff) >>> 0 });
  }
  vcpu.configWrite(bdf, CONFIG.command, 2, command);
  return bars;
}

function sizeRegister(vcpu: GuestCpu, bdf: string, at: number, ones: number): [before: number, mask: number] {
  const before = vcpu.configRead(bdf, at, 4);
  vcpu.configWrite(bdf, at, 4, ones);
  const mask = vcpu.configRead(bdf, at, 4);
  vcpu.configWrite(bdf, at, 4, before);
  return [before, mask];
}

/** Give every BAR without an address one, and switch the function on, as a bus master. What firmware did stays. */
export function place(vcpu: GuestCpu, functions: readonly FoundFunction[], windows: Windows = WINDOWS): void {
  const next: Windows = { ...windows };
  for (const fn of functions) {
    for (const bar of fn.bars) {
      if (bar.address === 0) assign(vcpu, fn, bar, next);
    }
    const command = vcpu.configRead(fn.bdf, CONFIG.command, 2);
    const on = command | COMMAND.io | COMMAND.memory | COMMAND.busMaster;
    if (command !== on) vcpu.configWrite(fn.bdf, CONFIG.command, 2, on);
    if (fn.pin !== 0 && vcpu.configRead(fn.bdf, CONFIG.interruptLine, 1) === 0)
      vcpu.configWrite(fn.bdf, CONFIG.interruptLine, 1, fn.gsi);
  }
}

function assign(vcpu: GuestCpu, fn: FoundFunction, bar: FoundBar, next: Windows): void {
  const window = bar.space === "io" ? "ports" : "memory";
  bar.address = Math.ceil(next[window] / bar.size) * bar.size;
  next[window] = bar.address + bar.size;
  const at = bar.index === "rom" ? CONFIG.rom : CONFIG.bar0 + bar.index * 4;
  vcpu.configWrite(fn.bdf, at, 4, bar.address);
  if (bar.space === "mem64") vcpu.configWrite(fn.bdf, at + 4, 4, 0);
}
