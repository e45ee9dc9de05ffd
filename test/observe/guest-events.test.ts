// SPDX-License-Identifier: MIT
import { GuestEvents } from "../../src/observe/guest-events.js";
import type { Logger } from "../../src/observe/log.js";

function build(): { events: GuestEvents; lines: string[]; wait: (ms: number) => void } {
  const lines: string[] = [];
  let now = 0;
  const log = { warn: (fields: { unprinted: number }, what: string) => lines.push(`${what} (${fields.unprinted})`) };
  const events = new GuestEvents(log as unknown as Logger, () => now);
  return {
    events,
    lines,
    wait: (ms) => {
      now += ms;
    },
  };
}

test("the first of each kind is printed at once, also right after another kind", () => {
  const { events, lines } = build();
  events.note("edu", "DMA refused");
  events.note("pvpanic", "the guest panicked");
  expect(lines).toEqual(["DMA refused (0)", "the guest panicked (0)"]);
});

test("what repeats is counted, and printed once a second with the number that was not", () => {
  const { events, lines, wait } = build();
  for (let i = 0; i < 100; i += 1) events.note("", "malformed request");
  wait(1000);
  events.note("", "malformed request");
  expect(lines).toEqual(["malformed request (0)", "malformed request (99)"]);
  expect(events.counts.get("malformed request")).toBe(101);
});

test("kinds without end are counted together after a thousand", () => {
  const { events } = build();
  for (let i = 0; i < 5000; i += 1) events.note("", `kind ${i}`);
  expect(events.counts.size).toBeLessThanOrEqual(1001);
  expect(events.counts.get("other")).toBe(4000);
});
