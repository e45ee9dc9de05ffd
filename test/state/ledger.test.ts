// SPDX-License-Identifier: MIT
/** What a process that takes over believes of the ledger it finds. */

import { LEDGER_ENTRIES, LEDGER_ENTRY_WORDS } from "../../src/state/format.js";
import { type Claim, Ledger } from "../../src/state/ledger.js";

const words = (): Int32Array => new Int32Array((LEDGER_ENTRIES + 1) * LEDGER_ENTRY_WORDS);

test.each<Claim>([
  { kind: "function", first: 0x90, last: 0x90 },
  { kind: "function", first: 0xffff_ffff, last: 0xffff_ffff },
  { kind: "pio", first: 0xc000, last: 0xffff },
  { kind: "mmio", first: 0x1_ffff_fff0, last: 0xf_ffff_ffff_ffff },
  { kind: "window", first: 0xffff, last: 0xffff },
])("the next process reads $kind $first-$last as it was written", (claim) => {
  const file = words();
  const ledger = new Ledger(file, 0);
  ledger.hold(ledger.ask(claim));
  expect(new Ledger(file, 0).claims()).toEqual([{ ...claim, entry: 0, state: "held" }]);
});

test.each<Claim>([
  { kind: "function", first: 0x1_0000_0000, last: 0x1_0000_0000 },
  { kind: "pio", first: 0xfff0, last: 0x1_0000 },
  { kind: "mmio", first: 0, last: 2 ** 52 },
  { kind: "mmio", first: 0xf000_0fff, last: 0xf000_0000 },
  { kind: "window", first: 0x1_0000, last: 0x1_0000 },
])("$kind $first-$last, which no process claims, is left out", (claim) => {
  const file = words();
  new Ledger(file, 0).ask(claim);
  expect(new Ledger(file, 0).claims()).toEqual([]);
});

test("entries that hold no claim are free, also where all of them hold something", () => {
  const file = words().fill(-1);
  const ledger = new Ledger(file, 0);
  expect(ledger.claims()).toEqual([]);
  for (let entry = 0; entry < LEDGER_ENTRIES; entry += 1) ledger.ask({ kind: "mmio", first: entry, last: entry });
  expect(new Ledger(file, 0).claims()).toHaveLength(LEDGER_ENTRIES);
  expect(() => ledger.ask({ kind: "pio", first: 0, last: 0 })).toThrow("all are taken");
});
