// SPDX-License-Identifier: MIT
/**
 * What a guest program sees.
 *
 * A guest program is a module whose default export is called once for each vCPU, each in its
 * own thread. It fails by throwing, or by returning anything but 0 or nothing:
 *
 *     import type { GuestCpu } from "ioreqd";
 *     export default (cpu: GuestCpu): void => {
 *       if (cpu.configRead("00:10.0", 0, 4) !== 0x11e81234) throw new Error("no edu device");
 *     };
 *
 * A program that keeps to GuestCpu runs on the simulated host and, where an agent in a Linux guest
 * executes its accesses, on a real one. GuestVcpu is what the simulated host has besides.
 */

import type { SimEventInjection } from "./addon.js";
import type { SimArch } from "./host.js";
import type { RoundTrips } from "./round-trips.js";

export type GuestProgram = (vcpu: GuestVcpu) => void | number | Promise<void> | Promise<number | undefined>;

export interface GuestMsi {
  addr: bigint;
  data: number;
}

export interface RepOptions {
  /** As with the direction flag set: addresses are those of the first element, the highest. */
  backwards?: boolean;
}

/** "00:10.0", or bus 15:8, device 7:3, function 2:0. */
export type Bdf = string | number;

/** One access of a batch: to a port, to guest-physical memory, or to configuration space. With `value` it is a write. */
export type Access = { readonly width: 1 | 2 | 4; readonly value?: number } & (
  | { readonly port: number }
  | { readonly gpa: number }
  | { readonly config: Bdf; readonly at: number }
);

/** Guest RAM that nobody else uses. */
export interface DmaMemory {
  /** Guest-physical, page-aligned. */
  readonly gpa: number;
  /** Bytes. */
  readonly length: number;
}

/**
 * What every guest can do, simulated or real.
 *
 * Accesses block until a device model answers. They throw GUEST_STOPPED (the run was ended) and
 * BAD_VALUE (the program's own mistake); a simulated host also DATA_ABORT (Arm: nobody claims the
 * address), DOMAIN_CRASHED (with Xen's words) and DOMAIN_SHUTDOWN (a device model powered the domain
 * off); a real one GUEST_ACCESS_FAILED (the guest's kernel refused). On x86 an access that nobody
 * claims reads as all ones and writes nowhere. Values of 1, 2 and 4 bytes are unsigned numbers.
 */
export interface GuestCpu {
  readonly id: number;
  /** How many vCPUs run this program. */
  readonly vcpus: number;
  readonly arch: SimArch;
  /** Words given to the program by whoever started it. */
  readonly arguments: readonly string[];

  in8(port: number): number;
  in16(port: number): number;
  in32(port: number): number;
  in(port: number, width: 1 | 2 | 4): number;
  out8(port: number, value: number): void;
  out16(port: number, value: number): void;
  out32(port: number, value: number): void;
  out(port: number, width: 1 | 2 | 4, value: number): void;

  /** A load from guest-physical `gpa`: from RAM where there is RAM, else from a device. */
  read(gpa: number, width: 1 | 2 | 4): number;
  read(gpa: number, width: 8): bigint;
  write(gpa: number, width: 1 | 2 | 4, value: number): void;
  write(gpa: number, width: 8, value: bigint): void;
  /** The same load `count` times in a row, in a loop of the guest. */
  readSeries(gpa: number, width: 1 | 2 | 4, count: number): Uint32Array;
  /** These accesses in their order; a read gives its value, a write 0. Saves time where the guest is far away. */
  batch(accesses: readonly Access[]): number[];

  /** Port to RAM, `count` elements of `width` bytes. These return how many were moved. */
  repIns(port: number, gpa: number, width: 1 | 2 | 4, count: number, options?: RepOptions): number;
  /** RAM to port. */
  repOuts(port: number, gpa: number, width: 1 | 2 | 4, count: number, options?: RepOptions): number;
  /** Any of RAM and device to any of RAM and device. */
  repMovs(to: number, from: number, width: 1 | 2 | 4 | 8, count: number, options?: RepOptions): number;

  /**
   * PCI configuration space, `offset` 0 to 255, or to 4095 on Arm and where the host has the CF8
   * extension. x86: ports CF8 and CFC, under a lock that all vCPUs share. Arm: the window at 0x10000000.
   */
  configRead(bdf: Bdf, offset: number, width: 1 | 2 | 4): number;
  configWrite(bdf: Bdf, offset: number, width: 1 | 2 | 4, value: number): void;

  /** RAM for devices to read and write; at least 1 MiB, or all there is. */
  readonly dmaMemory: DmaMemory;
  /** A copy of guest RAM. Throws BAD_VALUE where there is no RAM. */
  ramRead(gpa: number, length: number): Uint8Array;
  ramWrite(gpa: number, bytes: Uint8Array): void;

  /** The GSI of a device's pin on bus 0; `pin` 0 is INTA. Source: Xen hvm_pci_intx_gsi(). */
  gsiOf(device: number, pin: number): number;
  /**
   * Whether a device holds the line up. A real guest's kernel has it up from an interrupt until the device
   * lets go, and meanwhile disables the function's INTx: COMMAND bit 10 is then set, until somebody asks again.
   */
  gsiLevel(gsi: number): boolean;
  /** Sleep until the line has this level (true unless told). Returns false after timeoutMs. */
  waitGsi(gsi: number, level?: boolean, timeoutMs?: number): boolean;

  /** Wait until every vCPU is here. */
  barrier(): void;
  /** 1 MiB that all vCPUs share, zero at first; not guest memory. */
  readonly shared: SharedArrayBuffer;

  /** Tell the user what was reached. `detail` must be cloneable. */
  step(text: string, detail?: Readonly<Record<string, unknown>>): void;
  log(text: string, detail?: Readonly<Record<string, unknown>>): void;
}

/** A vCPU of the simulated host. */
export interface GuestVcpu extends GuestCpu {
  /** True when a device model answered the last access, or RAM did; false when nobody claimed it. */
  readonly answered: boolean;

  /** A load or store of 1 to 64 bytes (a vector move), which Xen cuts into accesses of up to 8 bytes. */
  readBytes(gpa: number, length: number): Uint8Array;
  writeBytes(gpa: number, bytes: Uint8Array): void;
  /** A store that Xen may put into a server's buffered ring: `gpa` 0xa0000 to 0xbffff. */
  vgaWrite(gpa: number, width: 1 | 2 | 4, value: number): void;
  repStos(to: number, width: 1 | 2 | 4 | 8, value: number | bigint, count: number, options?: RepOptions): void;

  /** All of guest RAM, from guest-physical 0; not a copy. A page that was ballooned out is stale here. */
  readonly ram: Uint8Array;
  /** The same bytes, for values wider than one. */
  readonly ramView: DataView;
  /** Give a page back to Xen, which makes every server drop its mappings. Throws BALLOON_FAILED. */
  balloonOut(gfn: number): void;
  /** Get a new, zeroed page. Throws BALLOON_FAILED. */
  balloonIn(gfn: number): void;
  /** Make every server drop its mappings of guest RAM; returns when all have answered. */
  invalidate(): void;
  /** Tell every server with a ring that the guest moved its clock. */
  sendTimeoffset(seconds: number): void;
  /** Send 32 bytes of ioreq_t as they are to the newest server; they hold its answer on return. */
  raw(ioreq: Uint8Array): void;
  /** The same through its buffered ring. Returns false when Xen refuses. */
  rawBuffered(ioreq: Uint8Array): boolean;

  /**
   * As a peer that does not keep to the protocol: a store into the newest server's shared pages, of which the first (from
   * byte 0) is the ring and the second (from byte 4096) has the slots. Raises no event. Returns false where there is no
   * such place, or no server.
   */
  writeShared(at: number, width: 1 | 2 | 4, value: number): boolean;

  /** Rising edges seen so far. */
  gsiEdges(gsi: number): number;
  /** The oldest message not taken yet, by any vCPU. */
  takeMsi(): GuestMsi | null;
  takeEvent(): SimEventInjection | null;
  /**
   * Sleep until `ready` says true; it is asked at once, and whenever an interrupt changed.
   * Returns false after timeoutMs. Without `ready`: until anything changed since the last wait.
   */
  waitInterrupt(ready?: (() => boolean) | null, timeoutMs?: number): boolean;
  /** The next message, or null after timeoutMs (5000 unless told). */
  waitMsi(timeoutMs?: number): GuestMsi | null;

  /** Nanoseconds that the last access took, from trap to return. */
  readonly lastNs: number;
  /** Accesses of this vCPU that a device model answered. */
  roundTrips(): RoundTrips;
  /** Forget them, after a warm-up. */
  resetRoundTrips(): void;
}
