// SPDX-License-Identifier: MIT
/**
 * pvpanic: the guest tells that it panicked, that a crash kernel took over, or
 * that it shut down. One register of one byte.
 *
 * Source: QEMU docs/specs/pvpanic.rst (the PCI device).
 */

import { definePciDevice } from "../pci/define.js";

const EVENTS = [
  { bit: 1 << 0, counter: "panicked", text: "the guest panicked" },
  { bit: 1 << 1, counter: "crashLoaded", text: "the guest panicked and handles it with a crash kernel" },
  { bit: 1 << 2, counter: "shutdown", text: "the guest shut down" },
] as const;
const ALL_EVENTS = 0x07;

export const pvpanic = definePciDevice({
  name: "pvpanic",
  summary: "the guest tells of its panics",
  ident: {
    vendor: 0x1b36,
    device: 0x0011,
    classCode: 0x088000,
    revision: 0x01,
    subsystemVendor: 0x1af4,
    subsystem: 0x1100,
  },
  bars: {
    0: {
      space: "mem32",
      size: 16,
      accepts: [{ from: 0, widths: [1] }],
      regs: { EVENT: { at: 0, width: 1, doc: "read: the events it takes; write: the events that happened" } },
    },
  },
  options: {
    events: {
      kind: "number",
      min: 0,
      max: ALL_EVENTS,
      default: ALL_EVENTS,
      doc: "which events it offers: 1 panic, 2 crash kernel, 4 shutdown",
    },
  },
  state: { panicked: "int32", crashLoaded: "int32", shutdown: "int32" },
  attach({ bars: { 0: reg }, state, options, log }) {
    const offered = Number(options["events"]);
    reg.EVENT.onRead(() => offered);
    reg.EVENT.onWrite((raw) => {
      for (const { bit, counter, text } of EVENTS) {
        if ((raw & offered & bit) === 0) continue;
        state[counter] += 1;
        log.guest(text);
      }
    });
  },
});
