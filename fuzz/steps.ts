// SPDX-License-Identifier: MIT
/** The steps an input is made of: each takes what it needs from the input, and acts on the machine. */

import type { Region } from "../src/bus/address-map.js";
import type { Space } from "../src/pci/decode.js";
import type { PciFunction } from "../src/pci/function.js";
import { IOREQ, PAGE_SIZE, STATE } from "../src/spec/xen-ioreq.js";
import { HEADER, HOST_RECORD } from "../src/state/arena.js";
import type { Bytes } from "./bytes.js";
import { Refused } from "./checked-host.js";
import { Camera, checkDamaged, recovered, successor } from "./death.js";
import { must } from "./failure.js";
import { takeOverDamaged } from "./heir.js";
import { checkAccess, checkWidths } from "./oracles.js";
import { accessTo, anySlot, anything, fillRing, post } from "./requests.js";
import { pluggable, request } from "./topologies.js";
import type { World } from "./world.js";

/** Acts, and gives the machine to go on with. */
export type Step = (world: World, input: Bytes) => World;

/** More timers than these in one step mean that they start each other without end. */
const MOST_TIMERS = 100_000;
/** Times that are worth waiting, in ms. */
const TIMES = [0, 1, 2, 5, 10, 300, 1000, 20_000] as const;
const MEMORY_PLACES = [0xf000_0000, 0xf000_0000, 0xf010_0000, 0xe000_0000, 0xffff_f000, 0x1000, 0x8000_0000] as const;
const HIGH_PLACES = [0, 0, 1, 0xfffff, 0xffff_ffff] as const;

const access: Step = (world, input) => {
  const slot = anySlot(input);
  if (world.state(slot) === STATE.inProcess) return world; // it waits for a device
  post(world, slot, accessTo(world, input));
  world.engine.serve(slot);
  return world;
};

/** All that a page can hold, and a slot that is posted although it still waits. */
const hostile: Step = (world, input) => {
  const slot = anySlot(input);
  const what = input.below(2) === 0 ? anything(input) : accessTo(world, input);
  const state = input.below(4) === 0 ? input.below(16) : STATE.ready;
  const before = world.slots.slice();
  post(world, slot, what, state);
  const posted = world.slots.slice();
  const served = world.engine.serve(slot);
  if (state === STATE.ready) return world;
  must(!served && Buffer.compare(posted, world.slots) === 0, () => `state ${state} was taken for a request`);
  world.slots.set(before);
  return world;
};

/** The peer writes the slot while it is served: all of it but the state. */
const doubleFetch: Step = (world, input) => {
  const slot = anySlot(input);
  if (world.state(slot) === STATE.inProcess) return world;
  post(world, slot, accessTo(world, input));
  const garbage = input.take(IOREQ.size);
  world.meanwhile = () => {
    const at = slot * IOREQ.size;
    const flags = ((world.slots[at + IOREQ.flags] as number) & 0x0f) | ((garbage[IOREQ.flags] as number) & 0xf0);
    world.slots.set(garbage, at);
    world.slots[at + IOREQ.flags] = flags;
  };
  world.engine.serve(slot);
  world.meanwhile = () => {};
  return world;
};

/** What firmware does: an address in each BAR, and the function switched on. */
const place: Step = (world, input) => {
  const { functions } = world.tree;
  const fn = functions[input.below(functions.length)] as PciFunction;
  const memory = input.pick(MEMORY_PLACES) + input.below(4) * 0x10_0000;
  const port = 0xc000 + input.u8() * 0x20;
  const high = input.pick(HIGH_PLACES);
  world.engine.host(() => {
    for (const [index, table] of fn.plan.tables.bars) {
      fn.writeConfig(
        0x10 + index * 4,
        4,
        table.space === "io" ? port + index * 0x40 : (memory + index * 0x20_0000) | 0,
      );
      if (table.space === "mem64") fn.writeConfig(0x14 + index * 4, 4, high | 0);
    }
    fn.writeConfig(0x04, 2, input.pick([7, 7, 7, 3, 0x407]));
  });
  return world;
};

/** What firmware does with a bridge: numbers and windows. */
const openBridge: Step = (world, input) => {
  const bridges = world.tree.functions.filter(({ bridge }) => bridge !== null);
  const fn = bridges[input.below(bridges.length)];
  if (fn === undefined) return world;
  const bus = input.below(8);
  const numbers = (bus << 8) | ((bus + input.below(4)) << 16);
  const [memory, end, ports] = [input.pick([0xf000, 0xe000, 0x8000]), input.pick([0xfff0, 0xf7f0, 0]), input.u16()];
  world.engine.host(() => {
    fn.writeConfig(0x18, 4, numbers);
    fn.writeConfig(0x1c, 2, ports);
    fn.writeConfig(0x20, 4, memory | (end << 16));
    fn.writeConfig(0x24, 4, input.u16() | (input.u16() << 16));
    fn.writeConfig(0x28, 4, input.below(3));
    fn.writeConfig(0x2c, 4, input.below(3));
    fn.writeConfig(0x04, 2, 7);
  });
  return world;
};

const ring: Step = (world, input) => {
  fillRing(world, input);
  world.drainRing();
  return world;
};

const time: Step = (world, input) => {
  const ran = world.clock.advance(input.pick(TIMES), MOST_TIMERS);
  must(ran < MOST_TIMERS, () => `${ran} timers ran out in one step`);
  return world;
};

const receive: Step = (world, input) => {
  const peers = [...world.peers.values()];
  const taken = peers[input.below(peers.length)]?.offer(input.take(input.below(32))) ?? 0;
  must(taken >= 0, () => `a device takes ${taken} bytes`);
  return world;
};

const plug: Step = (world, input) => {
  const bridges = world.tree.functions.filter(({ plan, bridge }) => bridge !== null && plan.id !== null);
  const behind = bridges[input.below(bridges.length + 1)]?.plan.id ?? undefined;
  const device = input.pick(pluggable);
  const id = device.bridge === undefined ? undefined : `plugged${input.below(3)}`;
  const where = { ...(behind === undefined ? {} : { behind }), ...(id === undefined ? {} : { id }) };
  const at = [behind === undefined ? 0x10 + input.below(16) : input.below(2), input.pick([0, 0, 0, 1, 7])] as const;
  allowed(() => {
    world.hotplug.add(request(device, at, where));
    world.replanned = true;
  });
  return world;
};

const unplug: Step = (world, input) => {
  const { functions } = world.tree;
  if (functions.length < 2) return world;
  const fn = functions[input.below(functions.length)] as PciFunction;
  allowed(() => {
    if (input.below(2) === 0 && world.hotplug.request(fn)) return;
    world.hotplug.remove(fn);
    world.replanned = true;
  });
  return world;
};

/** What an operator may be told. Anything else is a mistake of ours. */
function allowed(act: () => void): void {
  const codes = [
    "SLOT_TAKEN",
    "SLOT_UNKNOWN",
    "NO_FUNCTION_0",
    "ID_TAKEN",
    "BUS_UNKNOWN",
    "ARENA_FULL",
    "BRIDGE_IN_USE",
  ];
  try {
    act();
  } catch (error) {
    if (!(error instanceof Refused) && !codes.includes(String((error as { code?: unknown }).code))) throw error;
  }
}

const refuse: Step = (world, input) => {
  world.host.refusals = input.below(4);
  return world;
};

const abandon: Step = (world) => {
  world.engine.abandonLate();
  must(world.engine.waiting === 0, () => `${world.engine.waiting} slots wait after all were answered`);
  return world;
};

/** The process dies at some store of the next step; its successor goes on, or, where places have changed, is only looked at. */
const die: Step = (world, input) => {
  const camera = new Camera(world, input.below(32));
  access(world, input);
  camera.remove();
  if (camera.picture === null) return world;
  if (!world.replanned && input.below(2) === 0) {
    world.clock.clear();
    return successor(world, camera.picture);
  }
  recovered(camera.picture);
  return world;
};

/** A handler is undone in its middle. */
const undo: Step = (world, input) => {
  const { arena, tree } = world;
  const before = world.data();
  const { type, addr, data, flags } = accessTo(world, input);
  const [hi, lo] = [Number(BigInt.asIntN(32, addr >> 32n)), Number(BigInt.asIntN(32, addr))];
  arena.begin(HOST_RECORD);
  try {
    if ((flags & 0x20) !== 0) tree.read(type, hi, lo, 4);
    else tree.write(type, hi, lo, 4, Number(BigInt.asIntN(32, data)));
  } catch {
    // the probe does
  }
  tree.access.begin();
  tree.access.position = 0;
  arena.rollback();
  must(Buffer.compare(before, world.data()) === 0, () => "what was undone is not undone");
  tree.flush();
  return world;
};

/** A state file that something has written into: as it is, or with slots and ring for a process that takes over. */
const damage: Step = (world, input) => {
  const how = input.u8();
  if ((how & 8) === 0) return takeOverDamaged(world, input);
  const copy = world.arena.u8.slice();
  const words = new Int32Array(copy.buffer);
  const { journalAt } = HEADER;
  for (let left = how % 6; left > 0; left -= 1) {
    const area = input.below(3);
    const journal = (words[journalAt] as number) >>> 2;
    if (area === 0) words[input.below(32)] = input.u32() | 0;
    else if (area === 1) words[64 + (input.u16() % (129 * 16))] = input.below(6);
    else {
      words[(journal + input.below(64)) % words.length] = input.pick([input.u16(), input.u32() | 0]);
      words[HEADER.journalCount] = input.below(40);
      words[64 + input.below(4) * 16] = 1;
    }
  }
  checkDamaged(copy.buffer);
  return world;
};

const widths: Step = (world, input) => {
  const { functions } = world.tree;
  const fn = functions[input.below(functions.length)] as PciFunction;
  checkWidths(world, fn, input.u16() % Math.min(fn.configSize - 3, PAGE_SIZE));
  for (const space of ["pio", "mmio"] as const) {
    for (const region of fn.regions(space)) {
      // Behind a bridge's window there may be another device: what accepts which width is then not this one's to say.
      if (region.within !== undefined) continue;
      const offset = input.below(2) === 0 ? region.size - 1 - input.below(3) : input.u16() % region.size;
      if (!isHidden(world, region, space)) checkAccess(world, region, space, offset);
    }
  }
  return world;
};

/** Whether another region has some of its addresses. */
function isHidden({ tree, plan }: World, { base, size, target }: Region, space: Space): boolean {
  if (plan.hosts.some(({ ecam, aperture }) => ecam ?? aperture)) return true;
  const others = tree.functions.flatMap((fn) => fn.regions(space)).filter((other) => other.target !== target);
  return others.some((other) => other.base < base + size && other.base + other.size > base);
}

/** By the first byte of a step; what happens more often in life is there more often. */
export const steps: readonly Step[] = [
  ...[access, access, access, access, access, access, access, access, access, access],
  ...[hostile, hostile, doubleFetch, place, place, place, openBridge, openBridge, ring, time, time, receive],
  ...[plug, unplug, refuse, abandon, die, die, undo, damage, widths],
];
