// SPDX-License-Identifier: MIT
/** What an access costs where it has to find one of many: 200 functions behind 8 bridges against one, in turns. */

import { type Sbdf, sbdf } from "../src/base/ids.js";
import { pciBridge } from "../src/devices/pci-bridge.js";
import { definePciDevice } from "../src/pci/define.js";
import { type DeviceRequest, planTree } from "../src/pci/plan.js";
import { PciTree } from "../src/pci/tree.js";
import { DIR_READ, IOREQ, PAGE_SIZE, STATE, TYPE, WORD } from "../src/spec/xen-ioreq.js";
import { Arena, arenaSize, HOST_RECORD, PHASE } from "../src/state/arena.js";
import type { Row } from "./report.js";
import { type BenchServer, serverOf } from "./server.js";

type Bench = BenchServer & { readonly leaves: readonly Sbdf[] };

const BRIDGES = 8;
const BEHIND = 25;
const BASE = 0xe000_0000;
const ACCESSES = 2_000_000;
const TURNS = 5;

const leaf = definePciDevice({
  name: "leaf",
  ident: { vendor: 0x1234, device: 0x0001, classCode: 0x00ff00 },
  bars: { 0: { space: "mem32", size: PAGE_SIZE, regs: { SCRATCH: { at: 0, rw: 0xffff_ffff } } } },
});

/** Every leaf with its BAR at BASE + n pages; addresses of configuration space. */
function build(requests: readonly DeviceRequest[]): Bench {
  const plan = planTree(requests);
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
  const bridges = tree.functions.filter(({ bridge }) => bridge !== null);
  bridges.forEach((fn, index) => {
    fn.config.write(0x18, 4, ((index + 1) << 16) | ((index + 1) << 8));
    fn.config.write(0x20, 4, (0xeff0 << 16) | 0xe000);
    fn.config.write(0x04, 2, 7);
  });
  const leaves = tree.functions.filter(({ bridge }) => bridge === null);
  leaves.forEach((fn, index) => {
    fn.config.write(0x10, 4, (BASE + index * PAGE_SIZE) | 0);
    fn.config.write(0x04, 2, 2);
  });
  arena.commit(PHASE.committed, 0, 0);
  arena.release(HOST_RECORD);
  tree.flush();
  return { ...serverOf(tree, arena), leaves: leaves.map((fn) => fn.sbdf as Sbdf) };
}

const many = (): DeviceRequest[] =>
  Array.from({ length: BRIDGES }, (_, b): DeviceRequest[] => [
    { device: pciBridge, sbdf: sbdf(0, 0, 0x10 + b, 0), id: `b${b}`, options: {} },
    ...Array.from({ length: BEHIND }, (__, i): DeviceRequest => {
      return { device: leaf, sbdf: sbdf(0, 0, i, 0), bus: `b${b}`, options: {} };
    }),
  ]).flat();

/** Nanoseconds a read, from slot to reply: half of memory and half of configuration space, going round. */
function measure({ engine, words, bytes, leaves }: Bench): number {
  const start = process.hrtime.bigint();
  let at = 0;
  for (let i = 0; i < ACCESSES; i += 1) {
    at = at === leaves.length - 1 ? 0 : at + 1;
    const ofMemory = (i & 1) === 0;
    words[WORD.addrLo] = ofMemory ? (BASE + at * PAGE_SIZE) | 0 : 0;
    words[WORD.addrHi] = ofMemory ? 0 : (leaves[at] as number);
    words[WORD.count] = 1;
    words[WORD.width] = 4;
    bytes[IOREQ.type] = ofMemory ? TYPE.copy : TYPE.pciConfig;
    bytes[IOREQ.flags] = STATE.ready | DIR_READ;
    engine.serve(0);
  }
  return Number(process.hrtime.bigint() - start) / ACCESSES;
}

export function routing(): Row[] {
  const one = build([{ device: leaf, sbdf: sbdf(0, 0, 0x10, 0), options: {} }]);
  const all = build(many());
  const times: Array<[one: number, all: number]> = [];
  for (let turn = 0; turn <= TURNS; turn += 1) times.push([measure(one), measure(all)]);
  // The first turn warms up.
  const ratios = times.slice(1).sort(([a, b], [c, d]) => b / a - d / c);
  const [oneNs, allNs] = ratios[Math.floor(TURNS / 2)] as [number, number];
  const detail = `${allNs.toFixed(1)} ns against ${oneNs.toFixed(1)} ns`;
  return [
    {
      what: `routing among ${BRIDGES * BEHIND} functions behind ${BRIDGES} bridges, against one`,
      value: allNs / oneNs,
      unit: "x",
      hold: 1.2,
      detail,
    },
  ];
}
