// SPDX-License-Identifier: MIT
/**
 * The cost of one register access, without a hypervisor: slot to reply,
 * through decode, dispatch, journal and commit; ten functions on the bus, the
 * accesses going round among them. And the garbage it makes: none.
 */

import { constants, PerformanceObserver } from "node:perf_hooks";
import { sbdf } from "../src/base/ids.js";
import type { Engine } from "../src/ioreq/engine.js";
import { definePciDevice } from "../src/pci/define.js";
import { planTree } from "../src/pci/plan.js";
import { PciTree } from "../src/pci/tree.js";
import { DIR_READ, IOREQ, PAGE_SIZE, STATE, TYPE, WORD } from "../src/spec/xen-ioreq.js";
import { Arena, arenaSize, HOST_RECORD, PHASE } from "../src/state/arena.js";
import { median, type Row } from "./report.js";
import { type BenchServer, serverOf } from "./server.js";

const DEVICES = 10;
/** Rounds of accesses: so long is what else the machine does the same for a round's parts. */
const ROUNDS = 50;
const ACCESSES = 200_000;
const BASE = 0xf000_0000;

/** Ten shapes of device: the calls to their handlers can't be guessed. */
const device = (index: number) =>
  definePciDevice({
    name: `bench${index}`,
    ident: { vendor: 0x1234, device: index, classCode: 0x00ff00 },
    bars: {
      0: {
        space: "mem32",
        size: 4096,
        regs: {
          NEXT: { at: 0 },
          SCRATCH: { at: 4, rw: 0xffff_ffff },
          ...Object.fromEntries(Array.from({ length: index }, (_, i) => [`R${i}`, { at: 8 + i * 4 }])),
        },
      },
    },
    attach({ bars: { 0: reg } }) {
      reg.NEXT.onRead((stored) => {
        reg.NEXT.value = stored + 1 + index;
        return stored;
      });
    },
  });

function build(): BenchServer {
  const plan = planTree(
    Array.from({ length: DEVICES }, (_, i) => ({ device: device(i), sbdf: sbdf(0, 0, i + 1, 0), options: {} })),
  );
  const arena = Arena.create(new ArrayBuffer(arenaSize(plan.dataLength, plan.layout)), plan.dataLength, plan.layout);
  const tree = new PciTree(plan, arena);
  arena.begin(HOST_RECORD);
  tree.reset();
  tree.attach({
    dma: () => ({ read: () => false, write: () => false }),
    log: () => ({ info: () => {}, debug: () => {}, guest: () => {} }),
    host: (work) => work(),
    chardev: () => ({ write: () => {}, ready: true, onReady: () => {}, onReceive: () => {}, poll: () => {} }),
    replace: () => ({ keep: () => {}, undo: () => {} }),
    release: () => {},
  });
  tree.functions.forEach((fn, i) => {
    fn.config.write(0x10, 4, (BASE + i * PAGE_SIZE) | 0);
    fn.config.write(0x04, 2, 2);
  });
  arena.commit(PHASE.committed, 0, 0);
  arena.release(HOST_RECORD);
  tree.flush();
  return serverOf(tree, arena);
}

/** What Xen does: half reads of a register with a handler that stores, half writes of a plain one. */
function post(words: Int32Array, bytes: Uint8Array, i: number): void {
  const write = i & 1;
  words[WORD.addrLo] = (BASE + (i % DEVICES) * PAGE_SIZE + write * 4) | 0;
  words[WORD.addrHi] = 0;
  words[WORD.dataLo] = i;
  words[WORD.count] = 1;
  words[WORD.width] = 4;
  bytes[IOREQ.type] = TYPE.copy;
  bytes[IOREQ.flags] = STATE.ready | (write === 1 ? 0 : DIR_READ);
}

function drive(engine: Engine, words: Int32Array, bytes: Uint8Array, accesses: number): void {
  for (let i = 0; i < accesses; i += 1) {
    post(words, bytes, i);
    engine.serve(0);
  }
}

/** Nanoseconds of one of ACCESSES. */
function timed(work: () => void): number {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start) / ACCESSES;
}

/** In ns: an access, posting it, which is not ours, and what everybody can compare a machine by. */
interface Round {
  readonly all: number;
  readonly posting: number;
  readonly store: number;
}

function measure({ engine, words, bytes }: BenchServer): Round {
  const other = new Uint8Array(64);
  return {
    all: timed(() => drive(engine, words, bytes, ACCESSES)),
    posting: timed(() => {
      for (let i = 0; i < ACCESSES; i += 1) post(words, bytes, i);
    }),
    store: timed(() => {
      for (let i = 0; i < ACCESSES; i += 1) Atomics.store(other, 30, i & 0xff);
    }),
  };
}

export async function access(): Promise<Row[]> {
  const server = build();
  for (let warm = 0; warm < 5; warm += 1) measure(server);
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if ((entry as unknown as { detail: { kind: number } }).detail.kind !== constants.NODE_PERFORMANCE_GC_INCREMENTAL)
        collections += 1;
    }
  });
  // What came before must not be counted.
  await new Promise((resolve) => setImmediate(resolve));
  observer.observe({ entryTypes: ["gc"] });
  const rounds = Array.from({ length: ROUNDS }, () => measure(server));
  await new Promise((resolve) => setImmediate(resolve));
  observer.disconnect();
  const posting = median(rounds.map((round) => round.posting));
  const ours = rounds.map(({ all }) => all - posting);
  const store = median(rounds.map((round) => round.store));
  return [
    {
      what: "decode, dispatch, journal and commit of one access",
      value: median(ours),
      unit: " ns",
      hold: 150,
      detail: `median of ${ROUNDS} rounds of ${ACCESSES}, the fastest ${Math.min(...ours).toFixed(0)} ns; ${DEVICES} devices, ${posting.toFixed(0)} ns for posting taken off; one Atomics.store takes ${store.toFixed(1)} ns here`,
    },
    {
      what: "garbage collections in those accesses",
      value: collections,
      unit: "",
      hold: 0,
      detail: "as perf_hooks counts them",
    },
  ];
}
