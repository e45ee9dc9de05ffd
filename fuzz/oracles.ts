// SPDX-License-Identifier: MIT
/** What holds after every step, whatever the guest, the peer on the page and the hypervisor did. */

import { hex } from "../src/base/hex.js";
import { intersection, type Region } from "../src/bus/address-map.js";
import { RegisterBlock } from "../src/bus/block.js";
import type { Space } from "../src/pci/decode.js";
import type { PciFunction } from "../src/pci/function.js";
import { rootPin } from "../src/pci/numbering.js";
import { MAX_VCPUS, STATE, TYPE } from "../src/spec/xen-ioreq.js";
import { HOST_RECORD, PHASE } from "../src/state/arena.js";
import { joined } from "./checked-host.js";
import { must } from "./failure.js";
import type { World } from "./world.js";

/** Longest line of the log, in characters. */
const LONGEST_LINE = 4096;

export function checkWorld(world: World): void {
  checkRecords(world);
  checkHost(world);
  checkLog(world);
}

/** Nothing is under way but what a device owes, and nothing is left of what was undone. */
function checkRecords({ arena, engine, tree, faults }: World): void {
  must(!arena.inTransaction, () => "a transaction is still open");
  must(arena.header("journalCount") === 0, () => "the journal is not empty");
  must(tree.access.outstanding === 0, () => "parts of an access that is over are outstanding");
  must(tree.access.position === 0, () => "the position within an access that is over is kept");
  must(arena.record(HOST_RECORD).phase === PHASE.idle, () => "the record of the host's work is not idle");
  let late = 0;
  for (let slot = 0; slot < MAX_VCPUS; slot += 1) {
    const { phase } = arena.record(slot);
    must(phase === PHASE.idle || phase === PHASE.deferred, () => `the record of slot ${slot} is in phase ${phase}`);
    if (phase === PHASE.deferred) late += 1;
  }
  must(late === engine.waiting, () => `${late} records are deferred, and ${engine.waiting} slots wait`);
  must(faults.length === 0, () => `a handler threw: ${faults[0]}`);
}

/** The hypervisor knows what is decoded, and nothing else. */
function checkHost(world: World): void {
  const { tree, host } = world;
  for (const space of ["pio", "mmio"] as const) {
    const told = JSON.stringify(host.ranges[space]);
    const thought = JSON.stringify(joined(tree.claimed(space)));
    must(told === thought, () => `the ${space} ranges are ${told}, and the tree thinks ${thought}`);
    if (host.refusedAny || hasWindows(world)) continue;
    const wanted = JSON.stringify(joined(tree.functions.flatMap((fn) => decoded(fn, space))));
    must(told === wanted, () => `the ${space} ranges are ${told}, and decoded is ${wanted}`);
  }
  if (host.refusedAny) return;
  const reachable = tree.functions.flatMap(({ sbdf }) => sbdf ?? []).sort((a, b) => a - b);
  const claimed = [...host.functions].sort((a, b) => a - b);
  must(String(reachable) === String(claimed), () => `functions ${claimed} are claimed, and ${reachable} are reachable`);
  const up = new Set(tree.functions.filter((fn) => fn.intxAsserted).map(lineOf));
  const lines = [...host.lines].sort().join();
  must([...up].sort().join() === lines, () => `lines ${lines} are up, and ${[...up].join()} should be`);
}

const hasWindows = ({ plan }: World): boolean => plan.hosts.some(({ ecam, aperture }) => ecam ?? aperture);

function decoded(fn: PciFunction, space: Space): { first: number; last: number }[] {
  return fn.regions(space).flatMap(({ base, size, within }) => {
    const all = [{ first: base, last: base + size - 1 }];
    return within === undefined ? all : intersection(all, within);
  });
}

function lineOf(fn: PciFunction): number {
  const { device, pin } = rootPin(fn, "ABCD".indexOf(fn.plan.device.intx as string));
  return device * 4 + pin;
}

/** One line a second, and the first of each kind; of a length that somebody can read. */
function checkLog({ events, lines, clock, longestLine }: World): void {
  const most = events.counts.size + Math.floor(clock.now / 1000) + 1;
  must(lines <= most, () => `${lines} lines of log for ${events.counts.size} kinds of events in ${clock.now} ms`);
  must(events.counts.size <= 1001, () => `${events.counts.size} kinds of events`);
  must(longestLine <= LONGEST_LINE, () => `a line of the log has ${longestLine} characters`);
}

/** Those that were ready are answered, or their device owes the answer. */
export function checkServed(world: World): void {
  must(world.slotsIn(STATE.ready).length === 0, () => `slots ${world.slotsIn(STATE.ready)} are not served`);
}

/** Both chains of capabilities lead to their end, on their alignment, and not in circles. */
export function checkCapabilities({ tree }: World): void {
  for (const fn of tree.functions) {
    walk(fn, fn.readConfig(0x34, 1), { first: 0x40, end: 0x100, most: 48 }, (at) => fn.readConfig(at + 1, 1));
    const extended = fn.configSize > 0x100 && fn.readConfig(0x100, 4) !== 0 ? 0x100 : 0;
    walk(fn, extended, { first: 0x100, end: 0x1000, most: 960 }, (at) => fn.readConfig(at, 4) >>> 20);
  }
}

function walk(
  fn: PciFunction,
  start: number,
  { first, end, most }: { first: number; end: number; most: number },
  next: (at: number) => number,
): void {
  let steps = 0;
  for (let at = start; at !== 0; at = next(at)) {
    steps += 1;
    const good = at % 4 === 0 && at >= first && at < end && steps <= most;
    must(good, () => `${fn.label}: the chain of capabilities leads to 0x${at.toString(16)}`);
  }
}

/** A word of configuration space is its bytes, and looking changes nothing. */
export function checkWidths(world: World, fn: PciFunction, at: number): void {
  const before = world.data();
  const bytes = [0, 1, 2, 3].map((i) => fn.readConfig(at + i, 1) & 0xff);
  const [b0, b1, b2, b3] = bytes as [number, number, number, number];
  const word = b0 | (b1 << 8) | (b2 << 16) | (b3 << 24);
  must(fn.readConfig(at, 4) === word, () => `${fn.label}: config 0x${at.toString(16)} differs by width`);
  const halves = fn.readConfig(at, 2) | (fn.readConfig(at + 2, 2) << 16);
  must(halves === word, () => `${fn.label}: config 0x${at.toString(16)} differs by halves`);
  must(
    Buffer.compare(before, world.data()) === 0,
    () => `${fn.label}: reading config 0x${at.toString(16)} changed state`,
  );
}

/**
 * A register is the same by the word and by its bytes; and what is read across the end of a region is what is there. Each
 * reading is undone, so that none sees what another did.
 */
export function checkAccess(world: World, { base, size, target }: Region, space: Space, offset: number): void {
  const crosses = offset + 4 > size;
  if (!crosses && !isOneRegister(target, offset)) return;
  const at = base + offset;
  const word = readUndone(world, space, [at], 4);
  // Registers have side effects on each other: so bytes of several are read in one go, as they are across an end.
  const bytes = crosses
    ? readUndone(world, space, [at, at + 1, at + 2, at + 3], 1)
    : [0, 1, 2, 3].flatMap((i) => readUndone(world, space, [at + i], 1) ?? []);
  if (word === null || bytes?.length !== 4) return;
  const together = bytes.reduce((sum, byte, i) => sum | ((byte & 0xff) << (i * 8)), 0);
  must(
    word[0] === together,
    () => `at ${hex(at)} a word is ${hex(word[0] as number)}, and its bytes are ${hex(together)}`,
  );
}

function isOneRegister(target: Region["target"], offset: number): boolean {
  if (!(target instanceof RegisterBlock) || !target.accepts(offset, 1) || !target.accepts(offset, 4)) return false;
  return target.rows.some(({ at, width }) => at === offset && width === 4);
}

/** Null: one of them is answered later, or throws. */
function readUndone(
  { arena, tree }: World,
  space: Space,
  addresses: readonly number[],
  width: number,
): number[] | null {
  const type = space === "pio" ? TYPE.pio : TYPE.copy;
  arena.begin(HOST_RECORD);
  try {
    const values = addresses.map((at) => tree.read(type, Math.floor(at / 2 ** 32) | 0, at | 0, width));
    return tree.access.outstanding > 0 ? null : values;
  } catch {
    return null; // the probe throws
  } finally {
    tree.access.begin();
    tree.access.position = 0;
    arena.rollback();
  }
}
