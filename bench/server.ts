// SPDX-License-Identifier: MIT
/** The engine over a page of plain memory: slot to reply without a hypervisor. */

import { Counters } from "../src/ioreq/counters.js";
import { Engine } from "../src/ioreq/engine.js";
import type { PciTree } from "../src/pci/tree.js";
import { IOREQ, PAGE_SIZE, STATE } from "../src/spec/xen-ioreq.js";
import type { Arena } from "../src/state/arena.js";

const { size: SIZE, flags: FLAGS } = IOREQ;
const ANSWERED = STATE.respReady;

export interface BenchServer {
  readonly engine: Engine;
  /** The page of slots. */
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
}

export function serverOf(tree: PciTree, arena: Arena): BenchServer {
  const page = new ArrayBuffer(PAGE_SIZE);
  const bytes = new Uint8Array(page);
  const engine = new Engine({
    page,
    arena,
    bus: tree,
    memory: { read: () => false, write: () => false, invalidate: () => {} },
    counters: new Counters(),
    publish: (slot) => {
      bytes[slot * SIZE + FLAGS] = ANSWERED;
    },
    notify: () => {},
    guestEvent: () => {},
  });
  return { engine, words: new Int32Array(page), bytes };
}
