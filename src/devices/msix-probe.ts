// SPDX-License-Identifier: MIT
/**
 * msix-probe: the witness for interrupts. It sends the message that it is told
 * to, and counts what became of it: sent at once, or masked, pending and sent
 * later. It has a capability of every kind that an endpoint commonly has.
 *
 * BAR0 is 4 KiB of registers, BAR1 the MSI-X table, with the pending bits or
 * without, BAR2 then has them. A device of our own: the id is not assigned to
 * anyone else's device known to us.
 */

import { expressEndpoint } from "../pci/capabilities/express.js";
import { msi, msix } from "../pci/capabilities/interrupts.js";
import { powerManagement } from "../pci/capabilities/power.js";
import { serialNumber } from "../pci/capabilities/vendor.js";
import { definePciDevice } from "../pci/define.js";
import type { BytesField } from "../state/fields.js";

const ALL = 0xffff_ffff;
const MOST_VECTORS = 2048;
const MOST_MSI_VECTORS = 32;
/** Behind the longest table there can be. */
const PBA_BEHIND_TABLE = 0x8000;
const SERIAL = 0x1234_00ff_fe00_0001n;

const COUNTER_BYTES = 4;
const counters = { bytes: MOST_VECTORS * COUNTER_BYTES } as const;

export const msixProbe = definePciDevice({
  name: "msix-probe",
  summary: "sends messages as told, and counts them: the witness for interrupts",
  ident: { vendor: 0x1234, device: 0x3517, classCode: 0x00ff00, revision: 0x01 },
  intx: "A",
  bars: {
    0: {
      space: "mem32",
      size: 4096,
      regs: {
        VECTORS: { at: 0x00, doc: "messages that it has: the option" },
        ALLOWED: { at: 0x04, doc: "messages that the guest allows now; 0 while it enabled none" },
        FIRE: { at: 0x08, doc: "write n to ask for message n; reads as what was written last", rw: ALL },
        LINE: { at: 0x0c, rw: 1, doc: "1 pulls INTA" },
        ASKED: { at: 0x10, doc: "writes of FIRE: those sent at once, waited, merged and lost" },
        SENT: { at: 0x14, doc: "messages sent, at once or late" },
        WAITED: { at: 0x18, doc: "messages that became pending: masked, or without bus mastering" },
        LATE: { at: 0x1c, doc: "of those, the ones sent since" },
        MERGED: { at: 0x20, doc: "asked for while one of their number was pending: one for both" },
        LOST: { at: 0x24, doc: "asked for while none were enabled, or not so many" },
        SELECT: { at: 0x40, rw: ALL, doc: "which message the next ones count; MSI may fold several into one" },
        VECTOR_ASKED: { at: 0x44, doc: "as ASKED, without those that were lost" },
        VECTOR_SENT: { at: 0x48, doc: "as SENT" },
        VECTOR_WAITED: { at: 0x4c, doc: "as WAITED" },
        VECTOR_LATE: { at: 0x50, doc: "as LATE" },
      },
    },
    1: { space: "mem32", size: 0x1_0000 },
    2: { space: "mem32", size: 4096 },
  },
  options: {
    vectors: { kind: "number", min: 1, max: MOST_VECTORS, default: 8, doc: "messages that it has by MSI-X" },
    layout: {
      kind: "choice",
      choices: ["one", "two"],
      default: "one",
      doc: "whether table and pending bits share BAR1, or the pending bits have BAR2",
    },
  },
  capabilities: ({ vectors, layout }) => [
    powerManagement(),
    msi({ vectors: 2 ** Math.floor(Math.log2(Math.min(Number(vectors), MOST_MSI_VECTORS))) }),
    expressEndpoint(),
    msix({
      vectors: Number(vectors),
      table: { bar: 1, at: 0 },
      pba: layout === "two" ? { bar: 2, at: 0 } : { bar: 1, at: PBA_BEHIND_TABLE },
    }),
    serialNumber(SERIAL),
  ],
  state: {
    asked: "int32",
    atOnce: "int32",
    waited: "int32",
    lost: "int32",
    askedOf: counters,
    atOnceOf: counters,
    waitedOf: counters,
  },
  attach({ bars: { 0: reg }, state, options, intx, msi: messages }) {
    const askedOf = counterArray(state.askedOf);
    const atOnceOf = counterArray(state.atOnceOf);
    const waitedOf = counterArray(state.waitedOf);

    reg.FIRE.onWrite((vector) => {
      state.asked += 1;
      const became = messages.send(vector);
      if (became === "none") {
        state.lost += 1;
        return;
      }
      // MSI folds what is beyond the messages allowed; MSI-X has none beyond.
      const message = vector >= 0 && vector < messages.vectors ? vector : vector & (messages.vectors - 1);
      askedOf.increase(message);
      if (became === "goes") {
        state.atOnce += 1;
        atOnceOf.increase(message);
      } else if (became === "waits") {
        state.waited += 1;
        waitedOf.increase(message);
      }
    });
    reg.LINE.onWrite((raw) => ((raw & 1) === 0 ? intx.lower() : intx.raise()));

    // A message that waited and waits no more was sent: nothing has to be counted when it goes.
    const late = (): number => state.waited - messages.pending();
    const lateOf = (message: number): number => waitedOf.get(message) - messages.pending(message);

    reg.VECTORS.onRead(() => Number(options["vectors"]));
    reg.ALLOWED.onRead(() => messages.vectors);
    reg.ASKED.onRead(() => state.asked);
    reg.SENT.onRead(() => state.atOnce + late());
    reg.WAITED.onRead(() => state.waited);
    reg.LATE.onRead(late);
    reg.MERGED.onRead(() => state.asked - state.atOnce - state.waited - state.lost);
    reg.LOST.onRead(() => state.lost);
    reg.VECTOR_ASKED.onRead(() => askedOf.get(reg.SELECT.value));
    reg.VECTOR_SENT.onRead(() => atOnceOf.get(reg.SELECT.value) + lateOf(reg.SELECT.value));
    reg.VECTOR_WAITED.onRead(() => waitedOf.get(reg.SELECT.value));
    reg.VECTOR_LATE.onRead(() => lateOf(reg.SELECT.value));
  },
});

/** Counters of 32 bits, one after the other. Those that are not there read as 0. */
function counterArray(field: BytesField): { get(index: number): number; increase(index: number): void } {
  const piece = new Uint8Array(COUNTER_BYTES);
  const view = new DataView(piece.buffer);
  const get = (index: number): number => {
    field.read(index * COUNTER_BYTES, piece);
    return view.getInt32(0, true);
  };
  return {
    get,
    increase: (index) => {
      view.setInt32(0, get(index) + 1, true);
      field.write(index * COUNTER_BYTES, piece);
    },
  };
}
