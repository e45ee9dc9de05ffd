// SPDX-License-Identifier: MIT
/** host.node, function by function as in native/xensim/host/xensim.h, which says what each does. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { IoreqdError } from "../base/errors.js";
import { XENSIM_BUILD } from "../base/place.js";

/** enum xensim_space. */
export const SPACE = { pio: 0, mmio: 1 } as const;

/** enum xensim_result. */
export const RESULT = { handled: 0, unhandled: 1, abort: 2, crashed: 3, stopped: 4 } as const;

/** Words of `out`. `ns` is how long the last access took, at most 2^32-1. */
export const OUT = { lo: 0, hi: 1, ns: 2, aux: 3 } as const;

/** struct xensim_counters. Totals since the start; `servers`, `ranges` and `clients` are how many there are now. */
export interface SimCounters {
  /** Requests sent to device models, by type. */
  pio: number;
  copy: number;
  pciConfig: number;
  timeoffset: number;
  invalidate: number;
  /** Entries put into buffered rings, and writes that were sent as a request because a ring refused them. */
  buffered: number;
  bufferedFallback: number;
  /** Accesses nobody claimed: read as all ones (x86), or aborted (Arm). */
  unhandled: number;
  aborted: number;
  /** Requests for which a vCPU was put to sleep and woken. */
  retried: number;
  notifyFromServer: number;
  notifyToServer: number;
  notifyDropped: number;
  intxOps: number;
  msiOps: number;
  dmOps: number;
  dmOpErrors: number;
  rangesMapped: number;
  rangesUnmapped: number;
  servers: number;
  ranges: number;
  clients: number;
  /** Accesses in an MMCONFIG window whose function a server has, by the form they took. */
  mmcfgNative: number;
  mmcfgTranslated: number;
}

/** A range that a server has registered. `type`: 0 ports, 1 memory, 2 PCI (an SBDF). `end` is inclusive. */
export interface SimRange {
  type: number;
  start: bigint;
  end: bigint;
}

/** An MMCONFIG window that a server has told Xen of. `base` is where `startBus` is; `endBus` is inclusive. */
export interface SimMmcfgWindow {
  server: number;
  segment: number;
  base: bigint;
  startBus: number;
  endBus: number;
}

/** What XEN_DMOP_inject_event left for a vCPU. `type`: X86_ET_*. */
export interface SimEventInjection {
  vector: number;
  type: number;
  instructionLength: number;
  errorCode: number;
  cr2: bigint;
}

type Address = number | bigint;

/** Functions whose first parameter is `host` throw HOST_CLOSED once it was closed; all throw BAD_VALUE. */
export interface Addon {
  /** Results of the last call in this thread; see OUT. */
  readonly out: Uint32Array;
  start(path: string, vcpus: number, memory: number, arch: number, spinUs: number): number;
  stop(host: number): void;
  close(host: number): void;
  ram(host: number): ArrayBuffer;
  unpause(host: number): void;
  pause(host: number): void;
  destroyDomain(host: number): void;
  waitServerEnabled(host: number, timeoutMs: number): Promise<boolean>;
  runProgram(host: number, path: string, onExit: (vcpu: number, status: number) => void): number;
  decreaseReservation(host: number, vcpu: number, gfn: number): number;
  populate(host: number, gfn: number): number;
  sendTimeoffset(host: number, seconds: number): void;
  setCf8Extension(host: number, on: boolean): void;
  shutdownCode(host: number): number;
  mappedPages(host: number): number;
  crashReason(host: number): string | null;
  console(host: number): string;
  counters(host: number): SimCounters;
  ranges(host: number, server: number): SimRange[];
  mmcfgWindows(host: number): SimMmcfgWindow[];
  logDirty(host: number, on: boolean): void;
  takeDirty(host: number): number[];
  access(
    host: number,
    vcpu: number,
    space: number,
    write: boolean,
    addr: Address,
    width: number,
    lo: number,
    hi: number,
  ): number;
  mmio(host: number, vcpu: number, write: boolean, addr: Address, bytes: Uint8Array): number;
  rep(
    host: number,
    vcpu: number,
    space: number,
    toRam: boolean,
    addr: Address,
    ram: Address,
    width: number,
    count: number,
    backwards: boolean,
  ): number;
  repStos(
    host: number,
    vcpu: number,
    addr: Address,
    lo: number,
    hi: number,
    width: number,
    count: number,
    backwards: boolean,
  ): number;
  raw(host: number, vcpu: number, ioreq: Uint8Array): number;
  rawBuffered(host: number, ioreq: Uint8Array): number;
  writeShared(host: number, at: number, width: number, lo: number, hi: number): boolean;
  vgaWrite(host: number, vcpu: number, addr: Address, width: number, lo: number, hi: number): number;
  invalidate(host: number, vcpu: number): number;
  gsiLevel(host: number, gsi: number): boolean;
  gsiEdges(host: number, gsi: number): number;
  takeMsi(host: number): boolean;
  takeEvent(host: number, vcpu: number): SimEventInjection | null;
  waitInterrupt(host: number, seen: number, timeoutMs: number): number;
}

/** Load host.node. Throws XENSIM_NOT_BUILT. */
export function loadAddon(): Addon {
  const file = join(XENSIM_BUILD, "host.node");
  if (!existsSync(file)) {
    throw new IoreqdError(
      "XENSIM_NOT_BUILT",
      `the simulated Xen is not built: ${file} is missing; run npm run build (it needs make and a C compiler)`,
      { file },
    );
  }
  return require(file) as Addon;
}
