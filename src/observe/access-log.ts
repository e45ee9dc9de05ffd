// SPDX-License-Identifier: MIT
/** `-vv`: every access in one line, decoded; `-vvv`: the raw request before it. */

import { hex, hex64 } from "../base/hex.js";
import type { AccessObserver, PostedRequest } from "../ioreq/bus.js";
import { DATA_IS_PTR, DIR_READ, DIRECTION_FLAG, MAX_VCPUS, TYPE } from "../spec/xen-ioreq.js";
import type { Logger } from "./log.js";

const KINDS = new Map<number, string>(
  Object.entries(TYPE).map(([name, type]) => [type, name === "copy" ? "mmio" : name === "pciConfig" ? "config" : name]),
);

/** Bytes of the widest access there is. */
const WIDEST = 8;

/** Gives names to an access. */
export interface Describer {
  describe(type: number, hi: number, lo: number, width: number): { device: string; register: string; offset: number };
}

type Open = PostedRequest & { readonly at: number };

/** What a request is for, in words. */
export function requestFields(names: Describer, posted: PostedRequest): Record<string, unknown> {
  const { type, flags, hi, lo, width, count, dataLo, dataHi } = posted;
  // The width is the guest's word: one of 2 GiB has no name of every register there is.
  const { device, register, offset } = names.describe(type, hi, lo, Math.min(width >>> 0, WIDEST));
  return {
    kind: KINDS.get(type) ?? `type ${type}`,
    op: isRead(posted) ? "R" : "W",
    device: device === "" ? "nobody" : device,
    at: device === "" ? hex64(hi, lo) : hex(offset),
    reg: register === "" ? "-" : register,
    width,
    ...(count === 1 ? {} : { count: count >>> 0 }),
    ...((flags & DATA_IS_PTR) === 0 ? {} : { memory: hex64(dataHi, dataLo) }),
    ...((flags & DIRECTION_FLAG) === 0 ? {} : { backwards: true }),
  };
}

/** What it writes; of a read that is to come. */
export const writtenValue = ({ width, dataLo, dataHi }: PostedRequest): string =>
  hex64(width === 8 ? dataHi : 0, mask(dataLo, width));

export const isRead = ({ flags }: PostedRequest): boolean => (flags & DIR_READ) !== 0;

export class AccessLog implements AccessObserver {
  readonly #log: Logger;
  readonly #names: Describer;
  readonly #raw: boolean;
  /** The request each vCPU has open; the last one is the ring's. */
  readonly #open: Array<Open | null> = new Array<Open | null>(MAX_VCPUS + 1).fill(null);

  constructor(log: Logger, names: Describer, raw: boolean) {
    this.#log = log;
    this.#names = names;
    this.#raw = raw;
  }

  begin(
    slot: number,
    type: number,
    flags: number,
    hi: number,
    lo: number,
    width: number,
    count: number,
    dataLo: number,
    dataHi: number,
  ): void {
    const index = slot < 0 ? MAX_VCPUS : slot;
    this.#open[index] = { at: performance.now(), type, flags, hi, lo, width, count, dataLo, dataHi };
    if (!this.#raw) return;
    this.#log.trace(
      {
        vcpu: slot,
        type,
        flags: hex(flags),
        addr: hex64(hi, lo),
        data: hex64(dataHi, dataLo),
        size: width,
        count: count >>> 0,
      },
      slot < 0 ? "raw buffered request" : "raw request",
    );
  }

  end(slot: number, replyLo: number, replyHi: number, later: boolean): void {
    const index = slot < 0 ? MAX_VCPUS : slot;
    const open = this.#open[index];
    if (open === null || open === undefined) return;
    this.#open[index] = null;
    const value = isRead(open) ? hex64(open.width === 8 ? replyHi : 0, replyLo) : writtenValue(open);
    this.#log.trace(
      {
        vcpu: slot < 0 ? "ring" : slot,
        ...requestFields(this.#names, open),
        value,
        ...(later ? { later } : {}),
        us: Math.round((performance.now() - open.at) * 10) / 10,
      },
      "access",
    );
  }
}

const mask = (value: number, width: number): number => (width >= 4 ? value : value & ((1 << (width * 8)) - 1));
