// SPDX-License-Identifier: MIT
/**
 * q35-host: the host bridge of a machine without QEMU. It keeps what a guest
 * writes to CF8, so that a probe of configuration mechanism 1 succeeds, and has
 * the register that places the ECAM window. Its address is 00:00.0.
 *
 * Source: Intel 3 Series Express Chipset Family data sheet, 5.1.16 (PCIEXBAR);
 * PCI Local Bus 3.0, 3.2.2.3.2 (CONFIG_ADDRESS).
 */

import { definePciDevice } from "../pci/define.js";

/** PCIEXBAR: enabled, then two bits for the length: 256, 128 or 64 buses. */
const ENABLE = 0x1;
const LENGTHS = [256, 128, 64] as const;
const ADDRESS_BITS = 0x7f_fc00_0000n;

export const q35Host = definePciDevice({
  name: "q35-host",
  summary: "a host bridge for a guest without QEMU: CF8 and an ECAM window",
  ident: { vendor: 0x8086, device: 0x29c0, classCode: 0x060000, subsystemVendor: 0x1af4, subsystem: 0x1100 },
  ports: {
    cf8: {
      at: 0xcf8,
      size: 4,
      // Narrower accesses are to other registers of a PC that are not here.
      accepts: [{ from: 0, widths: [4] }],
      regs: {
        CONFIG_ADDRESS: { at: 0, rw: 0x8fff_fffc, doc: "bit 31 on, 27:24 register 11:8, 23:16 bus, 15:8 devfn" },
      },
    },
  },
  config: {
    PCIEXBAR: {
      at: 0x60,
      width: 8,
      reset: 0xe000_0000n,
      rw: ADDRESS_BITS | 0x7n,
      doc: "the ECAM window: bit 0 on; 2:1 its buses: 0 256, 1 128, 2 64; 38:26 its address",
    },
  },
  ecam(config) {
    const value = Number(config["PCIEXBAR"]?.value ?? 0);
    const buses = LENGTHS[(value >>> 1) & 3];
    if ((value & ENABLE) === 0 || buses === undefined) return null;
    const length = buses * 2 ** 20;
    return { base: Math.floor(value / length) * length, buses };
  },
});
