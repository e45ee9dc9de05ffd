// SPDX-License-Identifier: MIT
/** MSI and MSI-X as tables. What their bits do is in src/pci/messages.ts. Source: PCI 3.0 6.8. */

import { IoreqdError } from "../../base/errors.js";
import type { Rows } from "../../bus/table.js";
import { CAPABILITY, MSI, MSIX } from "../../spec/pci.js";
import type { Capability, InBar, MsixShape } from "../capability.js";

const ALL = 0xffff_ffff;
const ADDRESS = 0xffff_fffc;
const MOST_MSIX = 2048;

/** `vectors`: a power of two up to 32. 64-bit addresses and per-vector masks unless told. */
export function msi(options: {
  readonly vectors: number;
  readonly maskable?: boolean;
  readonly address64?: boolean;
  readonly at?: number;
}): Capability {
  const { vectors, maskable = true, address64 = true } = options;
  const log2 = Math.log2(vectors);
  if (!Number.isInteger(log2) || log2 > 5) {
    throw invalid(`MSI has 1, 2, 4, 8, 16 or 32 vectors, not ${vectors}`);
  }
  const control = (log2 << MSI.capableShift) | (address64 ? MSI.address64 : 0) | (maskable ? MSI.maskable : 0);
  const data = address64 ? 0x0c : 0x08;
  const implemented = vectors === 32 ? ALL : 2 ** vectors - 1;
  const regs: Rows = {
    CONTROL: { at: 0x02, width: 2, reset: control, rw: MSI.enable | (7 << MSI.enabledShift) },
    ADDRESS: { at: 0x04, rw: ADDRESS },
    ...(address64 ? { ADDRESS_HIGH: { at: 0x08, rw: ALL } } : {}),
    DATA: { at: data, width: 2, rw: 0xffff },
    ...(maskable ? { MASK: { at: data + 4, rw: implemented }, PENDING: { at: data + 8 } } : {}),
  };
  const length = maskable ? data + 12 : data + 4;
  const capability = { name: "MSI", id: CAPABILITY.msi, length, regs, msi: { vectors, maskable, address64 } };
  return options.at === undefined ? capability : { ...capability, at: options.at };
}

/** `vectors`: 1 to 2048. Table and pending bits lie in memory BARs of the device, on multiples of 8. */
export function msix(options: {
  readonly vectors: number;
  readonly table: InBar;
  readonly pba: InBar;
  readonly at?: number;
}): Capability {
  const { vectors, table, pba } = options;
  if (!Number.isInteger(vectors) || vectors < 1 || vectors > MOST_MSIX) {
    throw invalid(`MSI-X has 1 to ${MOST_MSIX} vectors, not ${vectors}`);
  }
  for (const { bar, at } of [table, pba]) {
    if (at % 8 !== 0 || bar < 0 || bar > 5)
      throw invalid(`MSI-X: ${at} in BAR ${bar} is no multiple of 8 in a BAR 0 to 5`);
  }
  const regs: Rows = {
    CONTROL: { at: 0x02, width: 2, reset: vectors - 1, rw: MSIX.enable | MSIX.functionMask },
    TABLE: { at: 0x04, reset: table.at | table.bar },
    PBA: { at: 0x08, reset: pba.at | pba.bar },
  };
  const capability = { name: "MSIX", id: CAPABILITY.msix, length: 0x0c, regs, msix: { vectors, table, pba } };
  return options.at === undefined ? capability : { ...capability, at: options.at };
}

/** Registers of vector `n` in the BAR that holds the table, and the words of the PBA. */
export const msixName = {
  address: (n: number): string => `MSIX${n}_ADDRESS`,
  data: (n: number): string => `MSIX${n}_DATA`,
  control: (n: number): string => `MSIX${n}_CONTROL`,
  pending: (word: number): string => `MSIX_PENDING${word}`,
};

/** What MSI-X adds to the registers of BAR `bar`. */
export function msixBarRows({ vectors, table, pba }: MsixShape, bar: number): Rows {
  const rows: Record<string, Rows[string]> = {};
  for (let n = 0; table.bar === bar && n < vectors; n += 1) {
    const at = table.at + n * MSIX.entrySize;
    rows[msixName.address(n)] = { at, width: 8, rw: 0xffff_ffff_ffff_fffcn };
    rows[msixName.data(n)] = { at: at + 8, rw: ALL };
    rows[msixName.control(n)] = { at: at + 12, reset: MSIX.masked, rw: MSIX.masked };
  }
  // Pending bits come in words of 64; we name their halves.
  for (let word = 0; pba.bar === bar && word < Math.ceil(vectors / 64) * 2; word += 1) {
    rows[msixName.pending(word)] = { at: pba.at + word * 4 };
  }
  return rows;
}

function invalid(what: string): IoreqdError {
  return new IoreqdError("TABLE_INVALID", what, {});
}
