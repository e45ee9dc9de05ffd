// SPDX-License-Identifier: MIT
/** Claims as a process finds them in the ledger of one that died, or of one that something has written into. */

import { IoreqdError } from "../../src/base/errors.js";
import { formatSbdf, sbdf } from "../../src/base/ids.js";
import type { Interval } from "../../src/bus/address-map.js";
import { Claims } from "../../src/pci/claims.js";
import type { PciHost } from "../../src/pci/rights.js";
import { LEDGER_ENTRIES, LEDGER_ENTRY_WORDS } from "../../src/state/format.js";
import { Ledger } from "../../src/state/ledger.js";

/** A ledger with these ranges of memory, and a hypervisor that notes what it is asked. */
function found(...ranges: readonly Interval[]) {
  const words = new Int32Array((LEDGER_ENTRIES + 1) * LEDGER_ENTRY_WORDS);
  const before = new Ledger(words, 0);
  for (const range of ranges) before.hold(before.ask({ kind: "mmio", ...range }));
  const asked: string[] = [];
  const refused: string[] = [];
  const range = ({ first, last }: Interval): string => `${first.toString(16)}-${last.toString(16)}`;
  const host = {
    refuseTaken: (functions) => asked.push(`free ${functions.map(formatSbdf).join()}?`),
    mapFunction: (at) => asked.push(`claim ${formatSbdf(at)}`),
    mapRange: (_space, first, last) => asked.push(`map ${range({ first, last })}`),
    unmapRange: (_space, first, last) => asked.push(`unmap ${range({ first, last })}`),
  } satisfies Partial<PciHost> as unknown as PciHost;
  const ledger = new Ledger(words, 0);
  const inLedger = (): string[] =>
    new Ledger(words, 0)
      .claims()
      .toSorted((a, b) => a.first - b.first)
      .map(range);
  const claims = new Claims(host, ledger, (what, error) => refused.push(`${what}: ${String(error)}`));
  return { claims, asked, refused, inLedger };
}

test("of a claim that was being split the whole is believed, and its parts are forgotten", () => {
  const { claims, asked, inLedger } = found(
    { first: 0x1000, last: 0x3fff },
    { first: 0x2000, last: 0x2fff },
    { first: 0x1000, last: 0x1fff },
  );
  expect(inLedger()).toEqual(["1000-3fff"]);
  claims.syncRanges("mmio", [{ first: 0x1000, last: 0x1fff }]);
  expect(asked).toEqual(["unmap 2000-3fff"]);
  expect(inLedger()).toEqual(["1000-1fff"]);
});

test("of claims that overlap, as no process writes them, one is believed; a ledger full of them is read at once", () => {
  const many = Array.from({ length: LEDGER_ENTRIES }, (_, i) => ({ first: i * 0x10, last: i * 0x10 + 0x1_0000 }));
  const { claims, asked } = found(...many);
  const [first, ...others] = claims.ranges("mmio");
  expect(first).toEqual({ first: 0, last: 0x1_0000 });
  let last = 0x1_0000;
  for (const range of others) {
    expect(range.first).toBeGreaterThan(last);
    last = range.last;
  }
  claims.syncRanges("mmio", []);
  expect(asked).toHaveLength(others.length + 1);
  expect(claims.ranges("mmio")).toEqual([]);
});

test("where the ledger is full a claim that can't be split stays whole, and that is told", () => {
  const { claims, refused } = found(
    ...Array.from({ length: LEDGER_ENTRIES }, (_, i) => ({ first: i * 0x1000, last: i * 0x1000 + 0xff })),
  );
  const ranges = claims.ranges("mmio");
  const [whole, ...rest] = ranges as [Interval, ...Interval[]];
  claims.syncRanges("mmio", [{ first: whole.first + 0x10, last: whole.last - 0x10 }, ...rest]);
  expect(refused).toEqual([
    expect.stringContaining("all are taken") as string,
    expect.stringContaining("all are taken") as string,
  ]);
  expect(claims.ranges("mmio")).toEqual(ranges);
});

test("who claims functions asks before whether they are taken, and again after: somebody may claim at the same time", () => {
  const { claims, asked } = found();
  const at = sbdf(0, 0, 0x10, 0);
  const shadow = sbdf(0, 0, 0x11, 0);
  claims.addFunctions([at, shadow], [at]);
  const claimed = ["claim 0000:00:10.0", "claim 0000:00:11.0"];
  expect(asked.splice(0)).toEqual(["free 0000:00:10.0?", ...claimed, "free 0000:00:10.0?"]);
  claims.addFunctions([at], [at]);
  expect(asked).toEqual(["free ?", "free ?"]);
});

test.each(["asked", "leaving"] as const)(
  "what a process before this one left %s is not settled while something is short: it stands there for the next",
  (state) => {
    const range = { first: 0x1000, last: 0x1fff };
    const short = (): never => {
      throw new IoreqdError("XEN_CALL_FAILED", "no memory", { errno: "ENOMEM" });
    };
    const words = new Int32Array((LEDGER_ENTRIES + 1) * LEDGER_ENTRY_WORDS);
    const before = new Ledger(words, 0);
    const entry = before.ask({ kind: "mmio", ...range });
    if (state === "leaving") before.leave(entry);
    const host = { mapRange: short, unmapRange: short } satisfies Partial<PciHost> as unknown as PciHost;
    expect(() => new Claims(host, new Ledger(words, 0), () => {})).toThrow("no memory");
    expect(new Ledger(words, 0).claims()).toMatchObject([range]);
  },
);
