// SPDX-License-Identifier: MIT
/**
 * edu: the teaching device. It computes factorials, copies memory by DMA and
 * interrupts, each in a way that a driver writer should have met once.
 *
 * BAR0 is 1 MiB of little-endian registers; what is computed takes time.
 * Source: QEMU docs/specs/edu.rst; hw/misc/edu.c for what MSI does.
 */

import { hex } from "../base/hex.js";
import type { Register64 } from "../bus/register.js";
import { msi } from "../pci/capabilities/interrupts.js";
import { definePciDevice } from "../pci/define.js";

const ALL = 0xffff_ffff;
const ALL_64 = 0xffff_ffff_ffff_ffffn;

const COMPUTING = 0x01;
const INTERRUPT_WHEN_DONE = 0x80;
const DMA_RUN = 0x1;
const DMA_TO_MEMORY = 0x2;
const DMA_INTERRUPT = 0x4;
const IRQ_FACTORIAL = 0x001;
const IRQ_DMA = 0x100;

/** The card's own memory, in its own address space. */
const BUFFER = { start: 0x4_0000, size: 4096 } as const;

export const edu = definePciDevice({
  name: "edu",
  summary: "QEMU's teaching device: factorial, DMA, interrupts",
  ident: {
    vendor: 0x1234,
    device: 0x11e8,
    classCode: 0x00ff00,
    revision: 0x10,
    subsystemVendor: 0x1af4,
    subsystem: 0x1100,
  },
  intx: "A",
  capabilities: [msi({ vectors: 1, maskable: false })],
  bars: {
    0: {
      space: "mem32",
      size: 1 << 20,
      holes: "ones",
      accepts: [
        { from: 0x00, widths: [4] },
        { from: 0x80, widths: [4, 8] },
      ],
      regs: {
        ID: { at: 0x00, reset: 0x0100_00ed, doc: "0xRRrr00ed: version RR.rr" },
        LIVE: { at: 0x04, rw: ALL, doc: "reads back inverted" },
        FACTORIAL: { at: 0x08, rw: ALL, doc: "write n, read n! (32 bits) once STATUS says so" },
        STATUS: { at: 0x20, rw: INTERRUPT_WHEN_DONE, doc: "0x01 computing; 0x80 interrupt when done" },
        IRQ_STATUS: { at: 0x24, doc: "why it interrupts: 0x001 factorial, 0x100 DMA, or what was raised" },
        IRQ_RAISE: { at: 0x60, doc: "bits to set in IRQ_STATUS; reads as ones" },
        IRQ_ACK: { at: 0x64, doc: "bits to clear in IRQ_STATUS; reads as ones" },
        DMA_SRC: { at: 0x80, width: 8, rw: ALL_64, doc: "source address" },
        DMA_DST: { at: 0x88, width: 8, rw: ALL_64, doc: "destination address" },
        DMA_COUNT: { at: 0x90, width: 8, rw: ALL_64, doc: "bytes" },
        DMA_CMD: { at: 0x98, width: 8, doc: "0x1 run; 0x2 to memory, else from memory; 0x4 interrupt when done" },
      },
    },
  },
  state: { buffer: { bytes: BUFFER.size } },
  timers: ["factorial", "dma"],
  options: {
    dma_mask_bits: {
      kind: "number",
      min: 12,
      max: 64,
      default: 28,
      doc: "bits of a memory address that its DMA can form",
    },
    delay: {
      kind: "number",
      min: 0,
      max: 10_000,
      default: 5,
      doc: "milliseconds that a computation or a transfer takes",
    },
  },
  attach({ bars: { 0: reg }, state, timers, intx, msi: message, dma, options, log }) {
    const delay = Number(options["delay"]);
    const mask = (1n << BigInt(Number(options["dma_mask_bits"]))) - 1n;
    const piece = new Uint8Array(BUFFER.size);

    reg.LIVE.onWrite((raw) => {
      reg.LIVE.value = ~raw;
    });
    for (const writeOnly of [reg.IRQ_RAISE, reg.IRQ_ACK]) writeOnly.onRead(() => -1);
    reg.IRQ_RAISE.onWrite((raw) => interrupt(raw));
    reg.IRQ_ACK.onWrite((raw) => {
      reg.IRQ_STATUS.value &= ~raw;
      if (reg.IRQ_STATUS.value === 0) intx.lower();
    });
    /** Each is a message, though others were not acknowledged; the line stays up until all are. */
    function interrupt(bits: number): void {
      reg.IRQ_STATUS.value |= bits;
      if (reg.IRQ_STATUS.value === 0) return;
      if (message.enabled) message.send(0);
      else intx.raise();
    }

    reg.FACTORIAL.onWrite((_raw, _mask, before) => {
      if ((reg.STATUS.value & COMPUTING) !== 0) {
        reg.FACTORIAL.value = before; // one at a time
        return;
      }
      reg.STATUS.value |= COMPUTING;
      timers.factorial.start(delay);
    });
    timers.factorial.onExpire(() => {
      reg.FACTORIAL.value = factorial(reg.FACTORIAL.value);
      reg.STATUS.value &= ~COMPUTING;
      if ((reg.STATUS.value & INTERRUPT_WHEN_DONE) !== 0) interrupt(IRQ_FACTORIAL);
    });

    // While a transfer runs its registers stand still.
    for (const half of ["lo", "hi"] as const) {
      for (const parameter of [reg.DMA_SRC, reg.DMA_DST, reg.DMA_COUNT]) {
        parameter[half].onWrite((_raw, _mask, before) => {
          if (timers.dma.running) parameter[half].value = before;
        });
      }
    }
    reg.DMA_CMD.lo.onWrite((raw) => {
      if (timers.dma.running || (raw & DMA_RUN) === 0) return;
      reg.DMA_CMD.lo.value = raw;
      timers.dma.start(delay);
    });
    timers.dma.onExpire(() => {
      const command = reg.DMA_CMD.lo.value;
      if (!transfer(command)) {
        const [from, to, bytes] = [reg.DMA_SRC, reg.DMA_DST, reg.DMA_COUNT].map((parameter) => hex(parameter.value));
        log.guest("DMA refused", { from, to, bytes });
      }
      reg.DMA_CMD.lo.value = command & ~DMA_RUN;
      if ((command & DMA_INTERRUPT) !== 0) interrupt(IRQ_DMA);
    });

    function transfer(command: number): boolean {
      const toMemory = (command & DMA_TO_MEMORY) !== 0;
      const [card, memory] = toMemory ? [reg.DMA_SRC, reg.DMA_DST] : [reg.DMA_DST, reg.DMA_SRC];
      const length = reg.DMA_COUNT.value;
      const at = positionInBuffer(card, length);
      if (at === null) return false;
      const bytes = piece.subarray(0, Number(length));
      const gpa = memory.value & mask;
      if (gpa !== memory.value) log.guest("DMA address cut to its mask", { wanted: hex(memory.value), used: hex(gpa) });
      if (toMemory) {
        state.buffer.read(at, bytes);
        return dma.write(gpa, bytes);
      }
      if (!dma.read(gpa, bytes)) return false;
      state.buffer.write(at, bytes);
      return true;
    }
  },
});

/** Where in the buffer a transfer lies, or null when some of it lies outside. */
function positionInBuffer(address: Register64, length: bigint): number | null {
  const at = address.value - BigInt(BUFFER.start);
  return at >= 0n && at + length <= BigInt(BUFFER.size) ? Number(at) : null;
}

/** n!, its low 32 bits. From 34! on these are all zero, so a guest can't make us count for long. */
function factorial(n: number): number {
  let product = 1;
  for (let i = n >>> 0; i > 1 && product !== 0; i -= 1) {
    product = Math.imul(product, i);
  }
  return product;
}
