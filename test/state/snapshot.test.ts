// SPDX-License-Identifier: MIT
/** State that leaves the file: written, damaged, read, and taken by tables of another version. */

import { createHash } from "node:crypto";
import fc from "fast-check";
import type { PciDevice } from "../../src/pci/define.js";
import { takeState } from "../../src/pci/plan-again.js";
import { planSnapshot } from "../../src/pci/plan-snapshot.js";
import { Arena, arenaSize, PHASE } from "../../src/state/arena.js";
import { readSnapshot, type Snapshot, snapshotOf, writeSnapshot } from "../../src/state/snapshot.js";
import { arenaOf, everything, requestsOf, setValue, valueAt, withRegisters } from "../support/state.js";

const ALL = 0xffff_ffff;
const card = withRegisters(
  {
    ID: { at: 0, reset: 7 },
    WIDE: { at: 8, width: 8, rw: 0xffff_ffff_ffff_ffffn },
    TEXT: { at: 16, bytes: 5, rw: true, reset: "hello" },
  },
  { state: { count: "int32", heap: { bytes: 3 } }, timers: ["late"] },
);
const other = withRegisters({ A: { at: 0, rw: ALL } });

function written(): Arena {
  const arena = arenaOf([card, other]);
  arena.uuid = "6b1f6f3c-0000-4000-8000-0123456789ab";
  setValue(arena, "bar0.WIDE", 0xfedc_ba98_7654_3210n);
  setValue(arena, "state.count", 0xffff_fffen);
  setValue(arena, "bar0.TEXT", Buffer.from("world"));
  setValue(arena, "state.heap", Buffer.from([0, 1, 255]));
  setValue(arena, "bar0.A", 0xcafen, 1);
  return arena;
}

/** What a new state file has that is made for it. */
function restored(snapshot: Snapshot, devices: readonly PciDevice[], now = 0): Arena {
  const plan = planSnapshot(snapshot, now, requestsOf(devices));
  const arena = Arena.create(new ArrayBuffer(arenaSize(plan.dataLength, plan.layout)), plan.dataLength, plan.layout);
  arena.transact(() => takeState(arena, plan));
  return arena;
}

test("state goes through a snapshot and is the same", () => {
  const arena = written();
  const text = writeSnapshot(snapshotOf(arena, "1.2.3", 0));
  const snapshot = readSnapshot(text);
  expect(snapshot).toMatchObject({ program: "1.2.3", uuid: arena.uuid });
  const again = restored(snapshot, [card, other]);
  expect(everything(again)).toEqual(everything(arena));
  expect(writeSnapshot(snapshotOf(again, "1.2.3", 0)).length).toBe(text.length - JSON.stringify(arena.uuid).length + 2);
});

test("a timer has as long to run as it had, whatever the clocks of the two hosts say", () => {
  const arena = written();
  const deadline = (ms: number): bigint => {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, ms);
    return view.getBigUint64(0);
  };
  setValue(arena, "timers.late.running", 1n);
  setValue(arena, "timers.late.deadline", deadline(5000));
  const snapshot = readSnapshot(writeSnapshot(snapshotOf(arena, "1", 4000)));
  expect(valueAt(restored(snapshot, [card, other], 100), "timers.late.deadline")).toBe(deadline(1100));
  const overdue = snapshotOf(arena, "1", 6000);
  expect(valueAt(restored(overdue, [card, other], 100), "timers.late.deadline")).not.toBe(0n);
});

test("requests that have no answer yet are in it, and a state between two stores is refused", () => {
  const arena = written();
  arena.begin(3);
  expect(() => snapshotOf(arena, "1", 0)).toThrow(expect.objectContaining({ code: "STATE_UNSETTLED" }) as Error);
  arena.commit(PHASE.deferred, -1, 2);
  expect(snapshotOf(arena, "1", 0).requests).toEqual([{ vcpu: 3, phase: "deferred", reply: [-1, 2], progress: 0 }]);
});

test("a newer table takes an older snapshot, an older table a newer one, as far as nothing is lost", () => {
  const newer = withRegisters({ A: { at: 0x40, rw: ALL }, B: { at: 0, rw: ALL, reset: 3 } });
  const up = restored(snapshotOf(written(), "1", 0), [card, newer]);
  expect([valueAt(up, "bar0.A", 1), valueAt(up, "bar0.B", 1)]).toEqual([0xcafen, 3n]);
  const down = readSnapshot(writeSnapshot(snapshotOf(up, "2", 0)));
  expect(valueAt(restored(down, [card, other]), "bar0.A", 1)).toBe(0xcafen);
  setValue(up, "bar0.B", 4n, 1);
  expect(() => restored(snapshotOf(up, "2", 0), [card, other])).toThrow(/card at 0000:00:11\.0 .* no bar0\.B any more/);
});

test("a snapshot of a version that is not known is refused, whichever", () => {
  const text = writeSnapshot(snapshotOf(written(), "1", 0)).toString();
  for (const version of [0, 2, 999]) {
    expect(() => readSnapshot(Buffer.from(text.replace('"version":1', `"version":${version}`)))).toThrow(
      expect.objectContaining({ code: "SNAPSHOT_VERSION_UNKNOWN" }) as Error,
    );
  }
});

test("with any byte changed, cut off or added, it is refused whole", () => {
  const text = writeSnapshot(snapshotOf(written(), "1", 0));
  const refused = (bytes: Uint8Array): void =>
    expect(() => readSnapshot(bytes)).toThrow(/not a usable snapshot|is of version/);
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const damaged = Buffer.from(text);
      damaged[at] = (damaged[at] as number) ^ flip;
      refused(damaged);
    }),
    { numRuns: 500 },
  );
  for (let length = 0; length < text.length; length += 7) refused(text.subarray(0, length));
  refused(Buffer.concat([text, Buffer.from("\n")]));
});

test.each<[string, (body: string) => string]>([
  ["a width out of range", (body) => body.replace('"width":8', '"width":9')],
  ["a huge run of bytes", (body) => body.replace('"width":5', '"width":1073741824')],
  ["a number that does not fit", (body) => body.replace('"width":8,"value":"fed', '"width":4,"value":"fed')],
  ["bytes that are too few", (body) => body.replace('"value":"0001ff"', '"value":"0001"')],
  ["a path twice", (body) => body.replace("0000:00:11.0", "0000:00:10.0")],
  [
    "a vCPU out of range",
    (body) => body.replace('"requests":[]', '"requests":[{"vcpu":500,"phase":"deferred","reply":[0,0],"progress":0}]'),
  ],
  ["a key that is not known", (body) => body.replace('"requests":', '"more":1,"requests":')],
  ["no object", () => "[]"],
  ["no JSON", () => "{"],
])("one with a right checksum and %s is refused", (_, change) => {
  const [, body = ""] = writeSnapshot(snapshotOf(written(), "1", 0))
    .toString()
    .split("\n");
  const changed = Buffer.from(change(`${body}\n`));
  expect(changed.toString()).not.toBe(`${body}\n`);
  const sha256 = createHash("sha256").update(changed).digest("hex");
  const head = JSON.stringify({ format: "ioreqd snapshot", version: 1, length: changed.length, sha256 });
  expect(() => readSnapshot(Buffer.concat([Buffer.from(`${head}\n`), changed]))).toThrow(/not a usable snapshot/);
});
