// SPDX-License-Identifier: MIT
/** What an operating system does with a PCI bus: enumerate, size, place, enable. Source: PCI 3.0 6.2.5.1; Linux drivers/pci/probe.c. */

import { BAR, COMMAND, CONFIG, MULTI_FUNCTION } from "../../spec/pci.js";
import type { Access, GuestCpu } from "../guest.js";

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
const HEADER_TYPE = 0x7f;
const HEADER_BYTES = 0x40;
const ALL_ONES = 0xffff_ffff;
const DEVICES = Array.from({ length: 32 }, (_, device) => device);
const BARS = [0, 1, 2, 3, 4, 5] as const;

/** Every function on bus 0, in order, BARs sized. */
export function enumerate(vcpu: GuestCpu): FoundFunction[] {
  return present(
    vcpu,
    DEVICES.map((device) => [device, 0]),
  ).flatMap(([device]) => {
    const first = probe(vcpu, device, 0);
    if (first === null) return [];
    const others = first.multiFunction ? [1, 2, 3, 4, 5, 6, 7].map((fn): Place => [device, fn]) : [];
    return [first, ...present(vcpu, others).map((at) => probe(vcpu, ...at))].filter((found) => found !== null);
  });
}

type Place = readonly [device: number, fn: number];
const bdfOf = (device: number, fn: number): string => `00:${device.toString(16).padStart(2, "0")}.${fn}`;

function present(vcpu: GuestCpu, places: readonly Place[]): Place[] {
  const ids = vcpu.batch(places.map((at) => ({ config: bdfOf(...at), at: CONFIG.vendor, width: 2 })));
  return places.filter((_, i) => ids[i] !== NOBODY);
}

/** The function at this place, BARs sized; null where there is none. */
export function probe(vcpu: GuestCpu, device: number, fn: number): FoundFunction | null {
  const bdf = bdfOf(device, fn);
  const header = readHeader(vcpu, bdf);
  const vendorId = header.getUint16(CONFIG.vendor, true);
  if (vendorId === NOBODY) return null;
  const pin = header.getUint8(CONFIG.interruptPin);
  const headerType = header.getUint8(CONFIG.headerType);
  return {
    bdf,
    device,
    vendorId,
    deviceId: header.getUint16(CONFIG.device, true),
    classCode: header.getUint32(CONFIG.revision, true) >>> 8,
    revision: header.getUint8(CONFIG.revision),
    multiFunction: (headerType & MULTI_FUNCTION) !== 0,
    pin,
    gsi: pin === 0 ? 0 : vcpu.gsiOf(device, pin - 1),
    bars: (headerType & HEADER_TYPE) === 0 ? sizeBars(vcpu, bdf, header) : [],
  };
}

/** The first 64 bytes of configuration space. */
export function readHeader(vcpu: GuestCpu, bdf: string): DataView {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  const offsets = Array.from({ length: HEADER_BYTES / 4 }, (_, i) => i * 4);
  const values = vcpu.batch(offsets.map((at) => ({ config: bdf, at, width: 4 })));
  offsets.forEach((at, i) => {
    header.setUint32(at, values[i] as number, true);
  });
  return header;
}

/** With decoding off, write ones and read back which bits stay. */
function sizeBars(vcpu: GuestCpu, bdf: string, header: DataView): FoundBar[] {
  const command = header.getUint16(CONFIG.command, true);
  const before = BARS.map((index) => header.getUint32(CONFIG.bar0 + index * 4, true));
  const romBefore = header.getUint32(CONFIG.rom, true);
  const size = (at: number, value: number, ones: number): Access[] => [
    { config: bdf, at, width: 4, value: ones },
    { config: bdf, at, width: 4 },
    { config: bdf, at, width: 4, value },
  ];
  const results = vcpu.batch([
    { config: bdf, at: CONFIG.command, width: 2, value: command & ~(COMMAND.io | COMMAND.memory) },
    ...BARS.flatMap((index) => size(CONFIG.bar0 + index * 4, before[index] as number, ALL_ONES)),
    ...size(CONFIG.rom, romBefore, ~BAR.romEnable >>> 0),
    { config: bdf, at: CONFIG.command, width: 2, value: command },
  ]);
  const mask = (nth: number): number => results[2 + nth * 3] as number;
  const bars: FoundBar[] = [];
  for (let index = 0; index < BARS.length; index += 1) {
    if (mask(index) === 0) continue;
    const found = barOf(index, before, mask);
    bars.push(found);
    if (found.space === "mem64") index += 1;
  }
  const rom = mask(BARS.length);
  if (rom !== 0) {
    const address = (romBefore & ~0x7ff) >>> 0;
    bars.push({ index: "rom", space: "rom", prefetchable: false, size: (~(rom & ~0x7ff) >>> 0) + 1, address });
  }
  return bars;
}

/** What a register says of its BAR. `mask`: what was read back of all ones. */
function barOf(index: number, before: readonly number[], mask: (index: number) => number): FoundBar {
  const kind = before[index] as number;
  if ((kind & BAR.io) !== 0) {
    return {
      index,
      space: "io",
      prefetchable: false,
      size: (~(mask(index) & ~3) >>> 0) + 1,
      address: (kind & ~3) >>> 0,
    };
  }
  const wide = (kind & BAR.mem64) !== 0;
  let size = (~(mask(index) & ~15) >>> 0) + 1;
  let address = (kind & ~15) >>> 0;
  if (wide) {
    const high = mask(index + 1);
    if (high !== ALL_ONES) size += (~high >>> 0) * 2 ** 32;
    address += (before[index + 1] as number) * 2 ** 32;
  }
  return { index, space: wide ? "mem64" : "mem32", prefetchable: (kind & BAR.prefetchable) !== 0, size, address };
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
