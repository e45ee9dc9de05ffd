// SPDX-License-Identifier: MIT
/** Requests: what a guest can make Xen post, and what only a broken or hostile peer would. */

import type { Region } from "../src/bus/address-map.js";
import { RegisterBlock } from "../src/bus/block.js";
import type { PciFunction } from "../src/pci/function.js";
import { DATA_IS_PTR, DIR_READ, DIRECTION_FLAG, IOREQ, MAX_VCPUS, RING, STATE, TYPE } from "../src/spec/xen-ioreq.js";
import type { Bytes } from "./bytes.js";
import type { World } from "./world.js";

/** vCPUs that are used much, so that they meet. */
const SLOTS = 4;
const FLAGS = [
  0,
  0,
  DIR_READ,
  DIR_READ,
  DATA_IS_PTR,
  DATA_IS_PTR | DIR_READ,
  DIRECTION_FLAG,
  DIRECTION_FLAG | DATA_IS_PTR | DIR_READ,
] as const;
const WIDTHS = [4, 4, 4, 1, 2, 8, 1, 2, 4, 4, 8, 0, 3, 16, 0x7fff_ffff, 0xffff_ffff] as const;
const COUNTS = [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 0, 64, 4096, 4097, 0xffff_ffff] as const;
/** Near an end or a line that matters. */
const ADDRESSES = [
  0n,
  0xfff0n,
  0xffff_fff8n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x1_ffff_fff8n,
  0xf_ffff_ffff_fffcn,
  0xffff_ffff_ffff_fffcn,
] as const;

export interface Request {
  readonly type: number;
  readonly addr: bigint;
  readonly data: bigint;
  readonly width: number;
  readonly count: number;
  readonly flags: number;
}

/** An access to somewhere near a register of a function, mostly of a form that Xen sends. */
export function accessTo(world: World, input: Bytes): Request {
  const functions = world.tree.functions;
  const fn = functions[input.below(functions.length)] as PciFunction;
  const shape = input.u8();
  const flags = FLAGS[shape & 7] as number;
  const width = WIDTHS[shape >>> 4] as number;
  const count = (shape & 8) === 0 ? 1 : input.pick(COUNTS);
  const { type, addr } = target(world, fn, input);
  return { type, addr, data: value(input), width, count, flags };
}

/** Any 32 bytes. */
export function anything(input: Bytes): Request {
  const types = [...Object.values(TYPE), 3, 6, 9, 0xff];
  const type = input.pick(types);
  return {
    type,
    addr: input.below(2) === 0 ? input.pick(ADDRESSES) : input.u64(),
    data: input.u64(),
    width: input.u32(),
    count: input.u32(),
    flags: input.u8() & 0xf0,
  };
}

export const anySlot = (input: Bytes): number => {
  const slot = input.u8();
  return slot < 0xf0 ? slot % SLOTS : slot % MAX_VCPUS;
};

/** Post it as Xen does: the fields, then the state. The event channel's word is Xen's. */
export function post(world: World, slot: number, request: Request, state: number = STATE.ready): void {
  const view = new DataView(world.page);
  const at = slot * IOREQ.size;
  view.setBigUint64(at + IOREQ.addr, BigInt.asUintN(64, request.addr), true);
  view.setBigUint64(at + IOREQ.data, BigInt.asUintN(64, request.data), true);
  view.setUint32(at + IOREQ.count, request.count, true);
  view.setUint32(at + IOREQ.width, request.width, true);
  view.setUint8(at + IOREQ.type, request.type);
  view.setUint8(at + IOREQ.flags, request.flags | state);
}

/** Entries of the buffered ring, or pointers that make no sense. */
export function fillRing(world: World, input: Bytes): void {
  const words = new Uint32Array(world.ringPage);
  if (input.below(4) === 0) {
    words[RING.readPointer >>> 2] = input.u32();
    words[RING.writePointer >>> 2] = input.below(2) === 0 ? input.u32() : (words[0] as number) + input.u16();
    return;
  }
  const entries = input.below(8);
  for (let i = 0; i < entries; i += 1) {
    const pointer = words[RING.writePointer >>> 2] as number;
    const at = (RING.slots + (pointer % RING.slotCount) * RING.slotSize) >>> 2;
    const { type, addr } = accessTo(world, input);
    words[at] = (type & 0xff) | (input.below(4) << 10) | (Number(addr & 0xf_ffffn) << 12);
    words[at + 1] = input.u32();
    words[RING.writePointer >>> 2] = pointer + 1 + input.below(2);
  }
}

function value(input: Bytes): bigint {
  const kind = input.u8();
  if (kind < 0x80) return BigInt(kind);
  if (kind < 0xc0) return BigInt(input.u16());
  if (kind < 0xe0) return BigInt(input.u32());
  if (kind < 0xf0) return input.u64();
  return input.pick(ADDRESSES);
}

function target(world: World, fn: PciFunction, input: Bytes): Pick<Request, "type" | "addr"> {
  const kind = input.below(8);
  if (kind < 3) {
    const at = BigInt(fn.sbdf ?? fn.plan.devfn) << 32n;
    return { type: TYPE.pciConfig, addr: at | BigInt(offsetIn(fn.config, fn.configSize, input)) };
  }
  if (kind === 3) return { type: input.pick([TYPE.copy, TYPE.pio]), addr: windowAddress(world, input) };
  const space = kind === 4 || kind === 5 ? "pio" : "mmio";
  const regions = fn.regions(space);
  const region = regions[input.below(Math.max(1, regions.length))];
  const type = space === "pio" ? TYPE.pio : TYPE.copy;
  return region === undefined
    ? { type, addr: input.pick(ADDRESSES) + BigInt(input.u8()) }
    : { type, addr: BigInt(region.base) + BigInt(offsetInRegion(region, input)) };
}

/** Into a window of a host bridge, where the topology has one. */
function windowAddress({ plan }: World, input: Bytes): bigint {
  const bases = plan.hosts
    .flatMap(({ ecam, aperture }) => [ecam?.base, aperture?.base])
    .filter((one) => one !== undefined);
  if (bases.length === 0) return input.pick(ADDRESSES);
  return (
    BigInt(input.pick(bases)) + BigInt(input.pick([0, 0x8000, 0xe_0000, 0xfff_f000, 0xc000])) + BigInt(input.u16())
  );
}

function offsetInRegion({ target, size }: Region, input: Bytes): number {
  return target instanceof RegisterBlock ? offsetIn(target, size, input) : input.u16() % size;
}

/** At or near a register, near the end, or anywhere. */
function offsetIn(block: RegisterBlock, size: number, input: Bytes): number {
  const how = input.u8();
  if (how < 0xd0 && block.rows.length > 0) {
    const at = block.rows[(how < 0xa0 ? input.u8() : input.u16()) % block.rows.length]?.at ?? 0;
    return Math.max(0, at + ([0, 0, 0, 0, 0, 1, 2, -1][how & 7] as number));
  }
  return how < 0xe0 ? size - (how & 7) : input.u32() % size;
}
