// SPDX-License-Identifier: MIT
/**
 * A bridge: a header of type 1, whose bus numbers and windows say what is
 * passed on to the bus behind it. Source: PCI-to-PCI Bridge Architecture 1.2,
 * chapters 3 and 4.
 */

import { type Interval, intersection } from "../bus/address-map.js";
import type { RegisterBlock } from "../bus/block.js";
import { type Register, registersOf } from "../bus/register.js";
import type { Row } from "../bus/table.js";
import { BRIDGE, BRIDGE_CONTROL, COMMAND, CONFIG, PREFETCH_64, STATUS } from "../spec/pci.js";
import type { BridgeTable } from "./define.js";

/** Base address registers of a type 1 header. */
export const BRIDGE_BARS = 2;

const WINDOW = 0xfff0;
const ALL = 0xffff_ffff;

/** What a type 1 header has where type 0 has BARs 2 to 5 and the subsystem's ids. */
export const bridgeRows: Readonly<Record<string, Row>> = {
  PRIMARY_BUS: { at: BRIDGE.primary, width: 1, rw: 0xff },
  SECONDARY_BUS: { at: BRIDGE.secondary, width: 1, rw: 0xff },
  SUBORDINATE_BUS: { at: BRIDGE.subordinate, width: 1, rw: 0xff },
  SECONDARY_LATENCY: { at: BRIDGE.secondaryLatency, width: 1 },
  IO_BASE: { at: BRIDGE.ioBase, width: 1, rw: 0xf0 },
  IO_LIMIT: { at: BRIDGE.ioLimit, width: 1, rw: 0xf0 },
  SECONDARY_STATUS: { at: BRIDGE.secondaryStatus, width: 2, w1c: STATUS.errors },
  MEMORY_BASE: { at: BRIDGE.memoryBase, width: 2, rw: WINDOW },
  MEMORY_LIMIT: { at: BRIDGE.memoryLimit, width: 2, rw: WINDOW },
  PREFETCH_BASE: { at: BRIDGE.prefetchBase, width: 2, reset: PREFETCH_64, rw: WINDOW },
  PREFETCH_LIMIT: { at: BRIDGE.prefetchLimit, width: 2, reset: PREFETCH_64, rw: WINDOW },
  PREFETCH_BASE_HIGH: { at: BRIDGE.prefetchBaseHigh, rw: ALL },
  PREFETCH_LIMIT_HIGH: { at: BRIDGE.prefetchLimitHigh, rw: ALL },
  IO_BASE_HIGH: { at: BRIDGE.ioBaseHigh, width: 2 },
  IO_LIMIT_HIGH: { at: BRIDGE.ioLimitHigh, width: 2 },
  BRIDGE_CONTROL: {
    at: BRIDGE.control,
    width: 2,
    rw: BRIDGE_CONTROL.parity | BRIDGE_CONTROL.serr | BRIDGE_CONTROL.masterAbort | BRIDGE_CONTROL.busReset,
  },
};

/** What the registers of a bridge say now. */
export class Bridge {
  readonly #config: RegisterBlock;
  readonly #isOpen: () => boolean;

  constructor(config: RegisterBlock, { open }: BridgeTable) {
    this.#config = config;
    const registers = registersOf(config) as Record<string, Register>;
    this.#isOpen = open === undefined ? () => true : () => open(registers);
  }

  /** Whether anything goes through, whatever bus numbers and windows say. */
  get isOpen(): boolean {
    return this.#isOpen();
  }

  get secondary(): number {
    return this.#config.read(BRIDGE.secondary, 1);
  }

  get subordinate(): number {
    return this.#config.read(BRIDGE.subordinate, 1);
  }

  /** Addresses passed on, ascending and disjoint. A window whose base is above its limit is closed. */
  windows(space: "pio" | "mmio"): Interval[] {
    if (!this.isOpen) return [];
    const read = (at: number, width: number): number => this.#config.read(at, width) >>> 0;
    const command = read(CONFIG.command, 2);
    if (space === "pio") {
      if ((command & COMMAND.io) === 0) return [];
      return open([
        { first: (read(BRIDGE.ioBase, 1) & 0xf0) << 8, last: ((read(BRIDGE.ioLimit, 1) & 0xf0) << 8) | 0xfff },
      ]);
    }
    if ((command & COMMAND.memory) === 0) return [];
    const megabytes = (at: number): number => (read(at, 2) & WINDOW) * 0x1_0000;
    const high = (at: number): number => read(at, 4) * 0x1_0000_0000;
    return open([
      { first: megabytes(BRIDGE.memoryBase), last: megabytes(BRIDGE.memoryLimit) + 0xf_ffff },
      {
        first: high(BRIDGE.prefetchBaseHigh) + megabytes(BRIDGE.prefetchBase),
        last: high(BRIDGE.prefetchLimitHigh) + megabytes(BRIDGE.prefetchLimit) + 0xf_ffff,
      },
    ]);
  }
}

function open(windows: readonly Interval[]): Interval[] {
  const found = windows.filter(({ first, last }) => first <= last).sort((a, b) => a.first - b.first);
  const [low, high] = found;
  if (low === undefined || high === undefined || high.first > low.last) return found;
  return [{ first: low.first, last: Math.max(low.last, high.last) }];
}

/** What both let through; null lets everything through. */
export function through(outer: readonly Interval[] | null, inner: readonly Interval[]): Interval[] {
  return outer === null ? [...inner] : intersection(outer, inner);
}
