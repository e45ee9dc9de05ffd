// SPDX-License-Identifier: MIT
/**
 * In what did the process before this one die? It is named in the log; and what ended two processes is not run a third
 * time: its device goes into quarantine before the request is served again.
 */

import { isPossible, type RawRequest } from "../ioreq/rep.js";
import type { IoreqServer } from "../ioreq/server.js";
import { isRead, requestFields, writtenValue } from "../observe/access-log.js";
import type { PciFunction } from "../pci/function.js";
import type { Quarantine } from "../pci/quarantine.js";
import { monotonic } from "../pci/timers.js";
import type { PciTree } from "../pci/tree.js";
import { DATA_IS_PTR, DIRECTION_FLAG, TYPE } from "../spec/xen-ioreq.js";
import { type Arena, HOST_RECORD } from "../state/arena.js";

/** In one request, or within ten minutes in work of one function that nobody asked for. */
export const DEFAULT_DEATHS = 2;

export interface Blamed {
  readonly arena: Arena;
  readonly tree: PciTree;
  readonly server: Pick<IoreqServer, "vcpus" | "left">;
  readonly quarantine: Quarantine;
  /** Deaths after which a device goes there; 0: never. */
  readonly most: number;
  readonly log: Readonly<Record<"warn" | "error", (fields: object, message: string) => void>>;
}

/** `died`: what Arena.recover() returned. Before any device's code runs, and before the tree has a hypervisor. */
export function blame(died: number, blamed: Blamed): void {
  const { arena, server } = blamed;
  for (let vcpu = 0; vcpu < server.vcpus; vcpu += 1) {
    const { deaths } = arena.record(vcpu);
    blameRequest(blamed, server.left.ofVcpu(vcpu), deaths, died === vcpu);
  }
  const { deaths, diedAt, ringSlots, subject } = arena.record(HOST_RECORD);
  const isRing = ringSlots > 0;
  if (deaths > 0) blameRequest(blamed, server.left.ofRing(diedAt), deaths, died === HOST_RECORD && isRing);
  if (died === HOST_RECORD && !isRing) blameHostWork(blamed, subject);
}

/** `isNew`: the last process died in it. Otherwise it is looked at again, should that one have died while it looked. */
function blameRequest(blamed: Blamed, request: RawRequest | null, deaths: number, isNew: boolean): void {
  if (request === null || deaths === 0) return;
  const { tree, log, most } = blamed;
  const suspects = suspectsOf(tree, request);
  if (isNew) {
    const value = isRead(request) || (request.flags & DATA_IS_PTR) !== 0 ? {} : { value: writtenValue(request) };
    const vcpu = request.slot < 0 ? "ring" : request.slot;
    log.warn({ vcpu, ...requestFields(tree, request), ...value, deaths }, "a process died in this request");
  }
  // An access may be for several: who it was is found out by leaving out one more each time.
  const left = most === 0 ? 0 : Math.max(0, deaths - most + 1);
  for (const fn of suspects.slice(0, left)) isolate(blamed, fn, deaths);
}

function blameHostWork(blamed: Blamed, subject: number): void {
  const { tree, log, most } = blamed;
  const fn = tree.functions.find((one) => one.subject === subject);
  if (fn === undefined) {
    log.warn({}, "a process died in work that is no device's");
    return;
  }
  const deaths = fn.state.noteDeath(monotonic());
  log.warn({ device: fn.label, deaths }, "a process died in work of this device outside of requests");
  if (most > 0 && deaths >= most) isolate(blamed, fn, deaths);
}

function isolate({ quarantine, log, arena }: Blamed, fn: PciFunction, deaths: number): void {
  if (fn.state.quarantined) return;
  quarantine.put(fn);
  const revive = `ioreqd device revive ${arena.header("domid")} ${fn.plan.path}`;
  log.error({ device: fn.label, id: fn.plan.id, deaths, revive }, "device quarantined");
}

/** No region begins or ends elsewhere: a BAR of ports has 4 bytes at least, one of memory 16. Source: PCI 3.0 6.2.5.1. */
const leastRegion = (type: number): bigint => (type === TYPE.copy ? 16n : 4n);

/** The functions that a request is for, in the order in which it comes to them. */
function suspectsOf(tree: PciTree, request: RawRequest): PciFunction[] {
  if (!isPossible(request)) return [];
  const { type, flags, hi, lo, width, count } = request;
  const found = new Set<PciFunction>();
  const first = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
  const step = (flags & DIRECTION_FLAG) !== 0 ? -width : width;
  const elements = type === TYPE.copy ? count : 1;
  let asked: bigint | null = null;
  for (let element = 0; element < elements; element += 1) {
    for (let byte = 0; byte < width; byte += 1) {
      const at = first + BigInt(element * step + byte);
      const region = at / leastRegion(type);
      if (region === asked) continue;
      asked = region;
      const fn = tree.ownerOf(type, Number(BigInt.asIntN(32, at >> 32n)), Number(BigInt.asIntN(32, at)));
      if (fn !== null) found.add(fn);
    }
  }
  return [...found];
}
