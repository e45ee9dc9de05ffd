// SPDX-License-Identifier: MIT
/**
 * A PCI device is a table and a few sentences: what `definePciDevice` takes,
 * and the rights a device gets when it is attached.
 */

import type { RegistersOf } from "../bus/register.js";
import type { BlockTable, Rows } from "../bus/table.js";
import type { FieldRows, FieldsOf } from "../state/fields.js";
import type { Upgrade } from "../state/kept.js";
import type { Capability } from "./capability.js";

/** Ids of configuration space. Source: PCI 3.0 6.2.1. */
export interface Ident {
  readonly vendor: number;
  readonly device: number;
  /** 24 bits: base class, sub-class, programming interface. */
  readonly classCode: number;
  readonly revision?: number;
  readonly subsystemVendor?: number;
  readonly subsystem?: number;
}

/** One base address register and what it decodes. Source: PCI 3.0 6.2.5.1. */
export interface BarTable extends BlockTable {
  readonly space: "mem32" | "mem64" | "io";
  /** Memory only: reads have no side effects and writes may be merged. */
  readonly prefetchable?: boolean;
  /** Bytes: a power of two, 16 to 2^31 for memory, 4 to 256 for I/O. */
  readonly size: number;
}

export type BarIndex = 0 | 1 | 2 | 3 | 4 | 5;
export type BarTables = { readonly [K in BarIndex]?: BarTable };

/** Ports at a fixed address. */
export interface PortsTable extends BlockTable {
  /** The first. */
  readonly at: number;
}

/** What kind of bridge: a port of PCI Express has one slot below it, a PCI bridge a bus of them. */
export interface BridgeTable {
  readonly kind: "pci" | "express";
  /** Whether accesses go through now, as far as its own registers say; always unless told. */
  readonly open?: (config: Readonly<Record<string, { readonly value: number }>>) => boolean;
}

/** What is behind a bridge, and how it comes and goes while the guest runs. */
export interface Slot {
  /** Something is behind the bridge. */
  readonly occupied: boolean;
  /** Something was put behind the bridge, or taken away. */
  onChange(handler: () => void): void;
  /**
   * Somebody wants to take away what is there, and waits for the guest to let go of it. Without a handler it is taken away
   * at once.
   */
  onRequest(handler: () => void): void;
  /** The guest has let go: take away what was asked for. Nothing happens when nobody asked. */
  release(): void;
  /** Put all that is behind back as after power-on. */
  reset(): void;
}

export type Pin = "A" | "B" | "C" | "D";

/** An option of a device: `--device name,key=value`. */
export type OptionRow =
  | { readonly kind: "string" | "chardev" | "file"; readonly default?: string; readonly doc: string }
  | {
      readonly kind: "number";
      readonly min: number;
      readonly max: number;
      readonly default?: number;
      readonly doc: string;
    }
  | { readonly kind: "choice"; readonly choices: readonly string[]; readonly default?: string; readonly doc: string };
export type OptionRows = Readonly<Record<string, OptionRow>>;
export type OptionValues = Readonly<Record<string, string | number | undefined>>;

/** A level-triggered interrupt line. Raising twice is raising once. */
export interface Intx {
  raise(): void;
  lower(): void;
  readonly raised: boolean;
}

/**
 * What becomes of a message that was asked for: it `goes` with this transaction; it `waits`, masked or without bus
 * mastering, as a pending bit; it is `merged` with one of its number that waits or goes already; or there is `none`,
 * because the guest enabled no messages, or not that many.
 */
export type Sending = "goes" | "waits" | "merged" | "none";

/**
 * Messages as interrupts, MSI or MSI-X: whichever of the device's two the guest has enabled.
 * While one is, the interrupt line stays down.
 */
export interface Msi {
  /** Whether the guest wants messages instead of the line. */
  readonly enabled: boolean;
  /** How many the guest allows: 0 while none is enabled. */
  readonly vectors: number;
  /**
   * Send message `vector`, counted from 0, once this transaction is committed; twice within one is once. While the guest
   * masks it, it is pending. With fewer messages than the device has, MSI folds them; MSI-X ignores what is beyond its
   * table. While none is enabled nothing happens.
   *
   * A process that dies between commit and sending has its successor send; one that dies between sending and noting
   * that down has it sent twice. So a message goes at least once, and what this returned was counted once.
   */
  send(vector: number): Sending;
  /** How many messages wait to be sent: of this number (after folding), or of all. Each that waited and waits no more was sent. */
  pending(vector?: number): number;
}

/** Guest memory, as a bus master sees it. False when the guest has no RAM there or bus mastering is off. */
export interface Dma {
  read(gpa: number | bigint, target: Uint8Array): boolean;
  write(gpa: number | bigint, source: Uint8Array): boolean;
}

/** A timer that survives the process: `start` and `stop` are part of the transaction. */
export interface Timer {
  /** Run the handler `ms` milliseconds from now; restarts a running timer. */
  start(ms: number): void;
  stop(): void;
  readonly running: boolean;
  onExpire(handler: () => void): void;
}

/** A stream of bytes to and from the outside: stdio, pty, file, unix socket. */
export interface Chardev {
  /**
   * Send one byte, with this transaction: undone, nothing was sent. Bytes the other side can't take yet wait in the arena,
   * up to 16 KiB, and outlive the process; what comes then is dropped, and told.
   */
  write(byte: number): void;
  /**
   * False while much waits: a device that can let its guest wait should, after 64 more bytes at most. It is true
   * again once half is sent, and also where nobody is there or somebody has not read for a second: then what does not
   * fit is dropped, and the guest goes on.
   */
  readonly ready: boolean;
  /** It is ready again, or an earlier process may have left off where it was not. Runs as a transaction of its own. */
  onReady(handler: () => void): void;
  /** Bytes from outside. `room()` says how many the device can take now; others wait. */
  onReceive(room: () => number, take: (byte: number) => void): void;
  /** Tell the backend that room may have grown. */
  poll(): void;
}

/** A log bound to this device. What a guest can cause belongs in `guest`: counted, and printed at most once a second. */
export interface DeviceLog {
  info(fields: Record<string, unknown>, message: string): void;
  debug(fields: Record<string, unknown>, message: string): void;
  guest(what: string, fields?: Record<string, unknown>): void;
}

/** Everything a device may use. It never sees Xen, a file descriptor or a global. */
export interface DeviceContext<B, S, T extends string> {
  readonly bars: B;
  /** Extra registers of configuration space (the table's `config`). */
  readonly config: Record<string, unknown>;
  readonly state: S;
  readonly timers: Readonly<Record<T, Timer>>;
  readonly options: OptionValues;
  readonly intx: Intx;
  readonly msi: Msi;
  /** What is behind it, for a bridge. */
  readonly slot: Slot;
  readonly dma: Dma;
  readonly log: DeviceLog;
  /** Work that no vCPU waits for (a byte arrived): runs as a transaction of its own. */
  host(work: () => void): void;
  /** The backend that an option of kind "chardev" names. */
  chardev(option: string): Chardev;
}

export interface PciDeviceTable<
  B extends BarTables = BarTables,
  S extends FieldRows = FieldRows,
  T extends string = string,
> {
  /** What `--device` calls it: lower case, digits, dashes. */
  readonly name: string;
  /** One line for `ioreqd devices`. */
  readonly summary?: string;
  readonly ident: Ident;
  readonly intx?: Pin;
  readonly bars?: B;
  /** Its header is of type 1, and devices stand behind it. */
  readonly bridge?: BridgeTable;
  /**
   * Where a chipset's own register puts the ECAM window of its segment, or null while it is off. Looked at after
   * every access that may have changed it.
   */
  readonly ecam?: (config: Readonly<Record<string, { readonly value: number | bigint }>>) => {
    readonly base: number;
    readonly buses: number;
  } | null;
  /** Ports it decodes whatever COMMAND says: those of the PC, at an address of their own. By name. */
  readonly ports?: Readonly<Record<string, PortsTable>>;
  /** Rows of configuration space from 0x40 on that belong to no capability. */
  readonly config?: Rows;
  /** In the order of their chain; a function where options decide. Builders are in src/pci/capabilities. */
  readonly capabilities?: readonly Capability[] | ((options: OptionValues) => readonly Capability[]);
  /** Expansion ROM contents; padded to a power of two, at least 2 KiB. */
  readonly rom?: Uint8Array;
  readonly state?: S;
  readonly timers?: readonly T[];
  readonly options?: OptionRows;
  /**
   * For a table whose places are not those that the state was written with: makes values for this one of them, by
   * "bar0.LIVE", "state.count". What it leaves out is dropped, or begins at its reset value. Without it a place that is
   * gone must hold its reset value, and none may have another kind or width.
   */
  readonly upgrade?: Upgrade;
  /** Called once, when the device is made (or taken over). Put handlers on registers here. */
  readonly attach?: (context: DeviceContext<{ readonly [K in keyof B]: RegistersOf<B[K]> }, FieldsOf<S>, T>) => void;
}

/** A definition whose types have done their work. */
export type PciDevice = Omit<PciDeviceTable, "attach"> & {
  readonly attach?: (context: DeviceContext<Record<string, object>, Record<string, unknown>, string>) => void;
};

/**
 * Define a device. The table's own types reach `attach`: a misspelt register
 * is a compile error. The table itself is checked when a device is made.
 */
export function definePciDevice<
  const B extends BarTables = Record<never, never>,
  const S extends FieldRows = Record<never, never>,
  const T extends string = never,
>(table: PciDeviceTable<B, S, T>): PciDevice {
  return table as unknown as PciDevice;
}
