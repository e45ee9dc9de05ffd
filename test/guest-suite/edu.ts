// SPDX-License-Identifier: MIT
/** edu as its drivers know it: offsets in BAR 0 in bytes, and bits. Source: QEMU docs/specs/edu.rst. */

export const EDU = {
  id: 0x00,
  live: 0x04,
  factorial: 0x08,
  status: 0x20,
  irqStatus: 0x24,
  irqRaise: 0x60,
  irqAck: 0x64,
  dmaFrom: 0x80,
  dmaTo: 0x88,
  dmaLength: 0x90,
  dmaCommand: 0x98,
  buffer: 0x4_0000,
} as const;
/** In status: it computes; and interrupt when done. */
export const EDU_STATUS = { computing: 1, interrupt: 0x80 } as const;
/** In dmaCommand. */
export const EDU_DMA = { run: 1, toGuest: 2, interrupt: 4 } as const;
