// SPDX-License-Identifier: MIT
/**
 * A process that takes over what something has written into: records, ledger, journal, registers and layout of the state
 * file, slots that somebody was serving, and the ring. It refuses the file, or it goes on: nobody is left waiting, nothing
 * is thrown, and nothing is stored where no process stores.
 */

import { MAX_VCPUS, STATE } from "../src/spec/xen-ioreq.js";
import { Arena, HEADER, HOST_RECORD } from "../src/state/arena.js";
import { LEDGER_ENTRIES, LEDGER_ENTRY_WORDS, RECORD_WORDS, RECORDS_AT } from "../src/state/format.js";
import { readLayout } from "../src/state/read-layout.js";
import type { Bytes } from "./bytes.js";
import { CheckedHost } from "./checked-host.js";
import { must } from "./failure.js";
import { accessTo, anySlot, anything, fillRing, post } from "./requests.js";
import { World } from "./world.js";

const MOST_CHANGES = 12;
/** Every claim of the ledger given back once, as many made again, and as much as any step may take besides. */
const MOST_CALLS = LEDGER_ENTRIES * 3 + 1024;
const MOST_TIMERS = 100_000;

/** What one would write who wants to do harm. */
const WORDS = [0, 1, 2, 3, 4, -1, -0x8000_0000, 0x7fff_ffff, 0x100, 0x200, 510, 511, 512, 4095, 4096, 4097] as const;
const ENDS = [
  0,
  1,
  0x10,
  0xff,
  0xc000,
  0xffff,
  0x1_0000,
  0xf000_0000,
  0xf000_0fff,
  0xffff_ffff,
  2 ** 52,
  2 ** 64,
] as const;

/** Changes somewhere in a state file, of which `words` are all. */
export function scribble(words: Int32Array, input: Bytes): void {
  for (let left = input.below(MOST_CHANGES); left > 0; left -= 1) {
    const change = input.pick(CHANGES);
    change(words, input);
  }
}

type Change = (words: Int32Array, input: Bytes) => void;

const word = (input: Bytes): number => (input.below(4) === 0 ? input.u32() | 0 : input.pick(WORDS));

const recordAt = (input: Bytes): number =>
  RECORDS_AT + input.pick([0, 1, 2, 3, HOST_RECORD, input.u8() % 129]) * RECORD_WORDS;

const oneOfRecord: Change = (words, input) => {
  words[recordAt(input) + input.below(RECORD_WORDS)] = word(input);
};

/** One of which only the values are wrong. */
const wholeRecord: Change = (words, input) => {
  const at = recordAt(input);
  words[at] = input.below(5);
  for (let field = 1; field < RECORD_WORDS; field += 1) words[at + field] = word(input);
};

const ledgerAt = (words: Int32Array): number => (words[HEADER.ledgerAt] as number) >>> 2;

const claims: Change = (words, input) => {
  const [first, step, head] = [input.u16() % LEDGER_ENTRIES, input.u8(), input.u16() & 0x307];
  const many = input.pick([1, 1, 1, 2, 16, LEDGER_ENTRIES]);
  const [from, to] = [input.pick(ENDS) + input.u8(), input.pick(ENDS) + input.u8()];
  for (let n = 0; n < many && first + n < LEDGER_ENTRIES; n += 1) {
    const at = ledgerAt(words) + (first + n + 1) * LEDGER_ENTRY_WORDS;
    const [low, high] = [from + n * step, to + n * step];
    words[at] = head;
    words[at + 1] = low | 0;
    words[at + 2] = Math.floor(low / 2 ** 32) | 0;
    words[at + 3] = high | 0;
    words[at + 4] = Math.floor(high / 2 ** 32) | 0;
  }
};

const lines: Change = (words, input) => {
  words[ledgerAt(words) + input.below(4)] = word(input);
};

const header: Change = (words, input) => {
  words[input.below(RECORDS_AT)] = word(input);
};

const journal: Change = (words, input) => {
  const count = input.below(40);
  const at = (words[HEADER.journalAt] as number) >>> 2;
  for (let entry = 0; entry < count; entry += 1) {
    words[(at + entry * 2) % words.length] = ((words[HEADER.dataAt] as number) >>> 2) + input.below(64);
    words[(at + entry * 2 + 1) % words.length] = word(input);
  }
  words[HEADER.journalCount] = count;
  words[recordAt(input)] = 1;
};

const data: Change = (words, input) => {
  const at = (words[HEADER.dataAt] as number) >>> 2;
  words[(at + (input.u16() % 1024)) % words.length] = word(input);
};

const layout: Change = (words, input) => {
  const at = (words[HEADER.layoutAt] as number) >>> 2;
  words[(at + (input.u16() % 1024)) % words.length] = input.u32() | 0;
};

const CHANGES: readonly Change[] = [
  oneOfRecord,
  wholeRecord,
  wholeRecord,
  claims,
  claims,
  lines,
  header,
  journal,
  data,
  data,
  layout,
];

/** What vCPUs wait for that somebody began to serve, and what is in the ring. */
function leave(world: World, input: Bytes): void {
  for (let left = input.below(6); left > 0; left -= 1) {
    const request = input.below(4) === 0 ? anything(input) : accessTo(world, input);
    post(world, anySlot(input), request, input.pick([STATE.inProcess, STATE.inProcess, STATE.ready, STATE.respReady]));
  }
  if (input.below(2) === 0) fillRing(world, input);
}

/** The file as a new process finds it, or null where it refuses it. */
function find(buffer: ArrayBuffer): { arena: Arena; died: number } | null {
  try {
    const arena = Arena.open(buffer);
    const died = arena.recover();
    readLayout(arena.layout(), arena.dataLength);
    return { arena, died };
  } catch (error) {
    must((error as { code?: unknown }).code === "ARENA_INVALID", () => `a damaged state file: ${String(error)}`);
    return null;
  }
}

/** The process of `world` dies, what it left is written into, and the next one goes on. Nothing is over for who comes after that: a new machine. */
export function takeOverDamaged(world: World, input: Bytes): World {
  const { topology, clock, replanned } = world;
  leave(world, input);
  const buffer = world.arena.u8.slice().buffer;
  scribble(new Int32Array(buffer), input);
  world.tree.detach();
  clock.clear();
  const found = find(buffer);
  // Where places are not those of the plan, another plan would be made of the layout.
  if (found !== null && !replanned) goOn(world, found);
  clock.clear();
  return new World(topology, clock);
}

function goOn(
  { topology, clock, page, ringPage, ram, host: known }: World,
  found: { arena: Arena; died: number },
): void {
  const { arena, died } = found;
  const layoutBefore = arena.u8.slice(arena.header("layoutAt"), arena.dataAt);
  const host = new CheckedHost(
    () => {},
    () => {},
  );
  host.inherit(known);
  host.lenient = true;
  const heir = new World(topology, clock, { arena, page, ringPage, ram, host, died });
  for (let slot = 0; slot < MAX_VCPUS; slot += 1) heir.engine.resume(slot);
  heir.serveAll();
  const ran = clock.advance(1000, MOST_TIMERS);
  must(ran < MOST_TIMERS, () => `${ran} timers ran out in one step`);
  heir.serveAll();
  heir.engine.abandonLate();
  for (const state of [STATE.ready, STATE.inProcess]) {
    const waiting = heir.slotsIn(state);
    must(waiting.length === 0, () => `slots ${waiting} wait for ever, in state ${state}`);
  }
  must(!arena.inTransaction && arena.header("journalCount") === 0, () => "a transaction is still open");
  must(heir.engine.waiting === 0, () => "an answer is still owed");
  must(heir.host.calls < MOST_CALLS, () => `${heir.host.calls} calls of the hypervisor`);
  const layoutNow = arena.u8.subarray(arena.header("layoutAt"), arena.dataAt);
  must(Buffer.compare(layoutBefore, layoutNow) === 0, () => "the layout was stored to");
  heir.tree.detach();
}
