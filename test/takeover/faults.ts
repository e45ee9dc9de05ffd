// SPDX-License-Identifier: MIT
/**
 * Loaded into a device model before its own code (`node --require`): kills the process, as SIGKILL does, when it
 * comes to a named point for the n-th time. Which, is in IOREQD_FAULT: "after commit:3". The program itself knows
 * nothing of this.
 */

import { Engine } from "../../src/ioreq/engine.js";
import { HostWork } from "../../src/ioreq/host-work.js";
import { IOREQ, STATE, STATE_MASK } from "../../src/spec/xen-ioreq.js";
import { Arena, HOST_RECORD } from "../../src/state/arena.js";
import { Ledger } from "../../src/state/ledger.js";
import { NativeEventChannels } from "../../src/xen/evtchn.js";
import { NativeXen } from "../../src/xen/native.js";
import type { FaultPoint } from "./fault-points.js";

const [wanted, nth] = (process.env["IOREQD_FAULT"] ?? ":0").split(":");
let passed = 0;

function at(point: FaultPoint): void {
  if (point !== wanted) return;
  passed += 1;
  if (passed === Number(nth)) process.kill(process.pid, "SIGKILL");
}

// biome-ignore lint/suspicious/noExplicitAny: methods of any shape
type Method = (...args: any[]) => any;

/** Pass a point before a method runs, and another after it has returned. */
function around<T extends object>(
  prototype: T,
  name: keyof T,
  before: FaultPoint | null,
  after: FaultPoint | null,
  applies: (...args: never[]) => boolean = () => true,
): void {
  const method = prototype[name] as Method;
  prototype[name] = function (this: T, ...args: never[]) {
    const counts = applies.apply(this, args);
    if (before !== null && counts) at(before);
    const result = method.apply(this, args);
    if (after !== null && counts) at(after);
    return result;
  } as T[keyof T];
}

around(Engine.prototype, "serve", "before INPROCESS", null, function (this: Engine, slot: number) {
  return this.isReady(slot);
});
around(Arena.prototype, "begin", "after INPROCESS", null, (record: number) => record !== HOST_RECORD);
around(Arena.prototype, "setWord", null, "after a store");
around(Arena.prototype, "commit", "before commit", "after commit");
around(Arena.prototype, "release", "before release", null, (record: number) => record !== HOST_RECORD);
around(HostWork.prototype, "applyBuffered", null, "ring entry applied");
around(HostWork.prototype, "advanced", "ring pointer moved", null);
for (const name of ["ask", "hold", "leave", "forget", "setLine"] as const) {
  around(Ledger.prototype, name, "before the ledger is written", "after the ledger is written");
}
around(Arena.prototype, "setProgress", null, "after progress is noted");
let answered = false;
around(Arena.prototype, "answer", null, "after a late answer is noted", () => {
  answered = true;
  return true;
});
around(Arena.prototype, "commit", null, "after a late answer is committed", () => {
  const applies = answered;
  answered = false;
  return applies;
});
around(Arena.prototype, "answered", null, "after a late answer is given");
around(Arena.prototype, "conclude", null, "after a reply is noted");
around(Arena.prototype, "settle", null, "after a message is settled");
around(NativeXen.prototype, "createIoreqServer", null, "after the server is created");
around(NativeXen.prototype, "setIoreqServerState", "before the server is enabled", "after the server is enabled");
around(NativeXen.prototype, "mapIoRange", "before a range is mapped", "after a range is mapped");
around(NativeXen.prototype, "unmapIoRange", "before a range is unmapped", "after a range is unmapped");
around(NativeXen.prototype, "mapPciDevice", "before a function is claimed", "after a function is claimed");
around(NativeXen.prototype, "setIntxLevel", "before a line is set", "after a line is set");
around(NativeXen.prototype, "injectMsi", "before a message", "after a message");
around(NativeEventChannels.prototype, "bindInterdomain", "before a port is bound", "after a port is bound");
around(Arena.prototype, "recover", "before recovery", "after recovery");
around(NativeXen.prototype, "mapIoreqPages", null, "after the pages are mapped");
around(Engine.prototype, "resume", "before a slot is resumed", "after a slot is resumed");

const publisher = NativeEventChannels.prototype.publisher;
NativeEventChannels.prototype.publisher = function (page) {
  const publish = publisher.call(this, page);
  const slots = new Uint8Array(page);
  return (slot, port) => {
    at("before IORESP_READY");
    if (wanted === ("after IORESP_READY" satisfies FaultPoint) && passed + 1 === Number(nth)) {
      const flags = slot * IOREQ.size + IOREQ.flags;
      Atomics.store(slots, flags, ((slots[flags] as number) & ~STATE_MASK) | STATE.respReady);
    }
    at("after IORESP_READY");
    const errno = publish(slot, port);
    at("after notify");
    return errno;
  };
};
