// SPDX-License-Identifier: MIT
/**
 * pci-testdev: measures what an access costs. A header says which width, where
 * and what to write; every write that fits is counted.
 *
 * Source: QEMU docs/specs/pci-testdev.rst. The variants that differ in how
 * QEMU is woken (ioeventfd) have no meaning here, so there is one test a BAR.
 */

import type { RegistersOf } from "../bus/register.js";
import { definePciDevice } from "../pci/define.js";

/** Where the guest is to write, its width and the value to write. */
const TARGET = { offset: 0x80, width: 1, data: 0xfa } as const;
const NAME_BYTES = 32;
const NO_TEST = 0xff;

const header = (name: string) =>
  ({
    TEST: {
      at: 0x00,
      width: 1,
      reset: NO_TEST,
      doc: "write the number of a test to start it; reads as the test that runs, or 0xff",
    },
    WIDTH: { at: 0x01, width: 1, doc: "bytes to write: 1, 2 or 4; 0 when there is no such test" },
    OFFSET: { at: 0x04, doc: "where in this BAR to write" },
    DATA: { at: 0x08, doc: "what to write" },
    COUNT: { at: 0x0c, doc: "writes that were as asked, since the test was started" },
    NAME: { at: 0x10, bytes: NAME_BYTES, reset: name, doc: "the test's name" },
    TARGET: { at: TARGET.offset, width: TARGET.width, doc: "the place to write to" },
  }) as const;

const memoryRegs = header("mmio-no-eventfd");
const portRegs = header("portio-no-eventfd");

export const pciTestdev = definePciDevice({
  name: "pci-testdev",
  summary: "counts writes, to measure what an access costs",
  ident: { vendor: 0x1b36, device: 0x0005, classCode: 0x00ff00, subsystemVendor: 0x1af4, subsystem: 0x1100 },
  bars: {
    0: { space: "mem32", size: 4096, regs: memoryRegs },
    1: { space: "io", size: 256, regs: portRegs },
  },
  attach({ bars }) {
    for (const reg of [bars[0], bars[1]]) attachTest(reg);
  },
});

function attachTest(reg: RegistersOf<{ regs: typeof portRegs }>): void {
  reg.TEST.onWrite((number) => {
    const exists = number === 0;
    reg.TEST.value = exists ? 0 : NO_TEST;
    reg.WIDTH.value = exists ? TARGET.width : 0;
    reg.OFFSET.value = exists ? TARGET.offset : 0;
    reg.DATA.value = exists ? TARGET.data : 0;
    reg.COUNT.value = 0;
  });
  reg.TARGET.onWrite((raw) => {
    const runs = reg.WIDTH.value !== 0;
    if (runs && raw === TARGET.data) reg.COUNT.value += 1;
  });
}
