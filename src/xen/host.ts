// SPDX-License-Identifier: MIT
/**
 * What a server needs of the hypervisor, as an interface.
 *
 * Every method throws IoreqdError when Xen refuses:
 *
 * | code | meaning | what the caller does |
 * | --- | --- | --- |
 * | XEN_DOMAIN_GONE | ESRCH: the domain is dying or dead | unmap everything, end; not a fault |
 * | XEN_RANGE_TAKEN | EEXIST: this server already has part of that range, or there is another MMCONFIG window | a bug, or a left-over of a killed process |
 * | XEN_PORT_TAKEN | EINVAL on bind: another process is attached to that channel | end: the other one serves |
 * | XEN_CALL_FAILED | anything else; `details.errno` has its name | tell the operator |
 * | XEN_CLOSED | the host or its event channels were closed here | a bug |
 *
 * Ranges are Xen's: `first` and `last`, both inside.
 */

import type { DomId, EvtchnPort, Gfn, IoservId, Sbdf } from "../base/ids.js";

/**
 * How Xen writes the buffered ring. `legacy` never canonicalises the pointers and goes wrong after 2^32
 * entries, so `atomic` is the one to use; `off` is the only one Arm allows.
 * Source: Xen public/hvm/hvm_op.h, HVM_IOREQSRV_BUFIOREQ_*.
 */
export type BufioreqMode = "off" | "legacy" | "atomic";

export type IoSpace = "pio" | "mmio";

/**
 * Where the configuration space of some buses of a segment is in guest-physical memory, 4 KiB a function.
 * Source: PCIe 7.2.2.
 */
export interface MmcfgWindow {
  readonly segment: number;
  /** Where `startBus` is: a multiple of the window's length, 1 MiB a bus, rounded up to a power of two. */
  readonly base: number | bigint;
  /** First and last bus, both inside. */
  readonly startBus: number;
  readonly endBus: number;
}

/**
 * The shared pages of one ioreq server. They belong to Xen and stay until the server is destroyed, so
 * another process can map the same ones again. While they are mapped a dead domain cannot be freed.
 */
export interface IoreqPages {
  /** 32-byte slots, one for each vCPU, in whole pages of 4096 bytes. See src/spec/xen-ioreq.ts. */
  readonly ioreq: ArrayBuffer;
  /** The buffered ring, 4096 bytes. Null when it was not asked for. */
  readonly ring: ArrayBuffer | null;
  /** Detaches both buffers (their length becomes 0, so a forgotten view reads undefined), then unmaps. */
  unmap(): void;
}

/** Guest pages in a row in this process's memory. */
export interface ForeignMapping {
  readonly buffer: ArrayBuffer;
  /**
   * One errno per page, 0 when it is mapped. Never touch a page that has one: the process would get
   * SIGBUS, which JavaScript cannot catch.
   */
  readonly errors: Int32Array;
  /** Detaches the buffer, then unmaps. A second call does nothing. */
  unmap(): void;
}

export interface XenHost {
  /** 1 to 128. */
  nrVcpus(domid: DomId): number;

  /** A new, disabled server. Xen allows 8 in a domain; the newest has precedence over the older ones. Pauses the domain briefly. */
  createIoreqServer(domid: DomId, mode: BufioreqMode): IoservId;
  /** Answer every pending slot first: a vCPU that waits in a destroyed server waits for ever. */
  destroyIoreqServer(domid: DomId, id: IoservId): void;
  /** Only an enabled server gets requests, and only then do its slots name their event channels. */
  setIoreqServerState(domid: DomId, id: IoservId, enabled: boolean): void;
  /** Event channel of the buffered ring on the domain's side, or null when the server has no ring. */
  bufioreqPort(domid: DomId, id: IoservId): EvtchnPort | null;
  /** Maps the shared pages of a server, new or left by a dead process. `ring` must be false with mode `off`. */
  mapIoreqPages(domid: DomId, id: IoservId, what: { readonly ring: boolean; readonly vcpus: number }): IoreqPages;

  /** An access is ours when it lies wholly within one range. 256 ranges a server. */
  mapIoRange(domid: DomId, id: IoservId, space: IoSpace, first: number | bigint, last: number | bigint): void;
  unmapIoRange(domid: DomId, id: IoservId, space: IoSpace, first: number | bigint, last: number | bigint): void;
  /** Configuration accesses through 0xCF8/0xCFC to this function come here. x86 only. */
  mapPciDevice(domid: DomId, id: IoservId, at: Sbdf): void;
  unmapPciDevice(domid: DomId, id: IoservId, at: Sbdf): void;

  /**
   * Whether Xen can be told where an MMCONFIG window is and routes accesses to it by function. The simulated one
   * can; no real one can, and there the three calls below throw XEN_CALL_FAILED with ENOSYS.
   */
  readonly translatesMmcfg: boolean;
  /**
   * Tells Xen of the segment's window, or that it has moved: in one step for the guest. Accesses go to the newest
   * server that has their function (mapPciDevice); nobody's functions read all-ones. `translated`: setMmcfgTranslated.
   */
  mapMmcfg(domid: DomId, id: IoservId, window: MmcfgWindow & { readonly translated: boolean }): void;
  unmapMmcfg(domid: DomId, id: IoservId, segment: number): void;
  /**
   * How this server gets what is accessed in a window, be it its own or another's: as PCI_CONFIG requests (translated;
   * so it is at first), or as the memory accesses that they are.
   */
  setMmcfgTranslated(domid: DomId, id: IoservId, translated: boolean): void;

  /**
   * Level of pin A (0) to D (3) of a device (0 to 31) on bus 0. Idempotent. Devices behind a bridge are
   * given with the slot and pin their interrupt has on bus 0. x86 only. Hot: allocates nothing.
   */
  setIntxLevel(domid: DomId, device: number, pin: 0 | 1 | 2 | 3, asserted: boolean): void;
  /** ISA line 0 to 15. x86 only. */
  setIsaIrqLevel(domid: DomId, irq: number, asserted: boolean): void;
  /** Shared peripheral interrupt, 32 and up. Arm only. */
  setIrqLevel(domid: DomId, irq: number, asserted: boolean): void;
  /** One message-signalled interrupt, as the guest programmed it. x86 only. Hot: allocates nothing. */
  injectMsi(domid: DomId, address: number | bigint, data: number): void;

  /** A new set of channels with an fd of its own. One for each thread that serves. */
  openEventChannels(): EventChannels;

  /**
   * Maps guest pages, in the order given. Throws when nothing could be mapped at all; a single bad page
   * is reported in `errors`.
   */
  mapForeign(domid: DomId, gfns: readonly Gfn[] | Float64Array, prot: "r" | "rw"): ForeignMapping;
  /** Tells Xen that `count` pages from `first` on were written, for live migration. x86 only. */
  modifiedMemory(domid: DomId, first: Gfn, count: number): void;

  /** From now on this process can reach no other domain. Cannot be undone. Open everything first. */
  restrict(domid: DomId): void;
  /** Unmaps and closes whatever is still open. */
  close(): void;
}

/**
 * The event channels of one thread. A method throws as those of XenHost do; in particular XEN_DOMAIN_GONE
 * from bindInterdomain means that the domain died before we came. A domain that dies later is silent here:
 * notify goes on succeeding and reaches nobody.
 */
export interface EventChannels {
  /** Readable when an event is pending. For polling only: reading it takes events away from `poll`. */
  readonly fd: number;
  /**
   * Attaches to the domain's channel and returns our end. One event arrives at once, with no request
   * behind it: Xen says so because earlier notifications may be lost.
   */
  bindInterdomain(domid: DomId, remotePort: EvtchnPort): EvtchnPort;
  unbind(port: EvtchnPort): void;
  /** Hot: allocates nothing. */
  notify(port: EvtchnPort): void;
  /** An event is delivered once and then masked. Unmask, then look at the slot: that order loses nothing. */
  unmask(port: EvtchnPort): void;
  /**
   * Readiness on this thread's own libuv loop.
   *
   * `onReadable` is called while events are pending: `drain` takes them. It is called plainly, not as a
   * Node callback: promise jobs and process.nextTick made in it run when the loop's next ordinary callback
   * ends, so code that needs them uses setImmediate. What it throws becomes an uncaughtException.
   *
   * `onFailure` is called at most once, by `drain`, with XEN_EVENTS_LOST, after which the poller has stopped: the
   * fd was closed, the simulated host went away, or the kernel's ring of events overflowed.
   */
  poll(onReadable: () => void, onFailure: (error: Error) => void): EventPoller;
  /**
   * Makes the function that ends a request: it stores IORESP_READY into the state nibble of `slot` with
   * release order, keeping the flags beside it, and notifies `port`. Returns 0 or the errno of the
   * notification (EBADF once the page was unmapped or the channels closed; then nothing was written).
   * Hot: allocates nothing and never throws.
   */
  publisher(page: ArrayBuffer): Publish;
  /** Stops the pollers, lets go of every port. */
  close(): void;
}

export type Publish = (slot: number, port: EvtchnPort) => number;

export interface EventPoller {
  /** Where the pending ports are put: owned by the poller, good until `drain` is called again. */
  readonly ports: Uint32Array;
  /** Takes what is pending now, each port masked from then on. Returns how many ports are in `ports`; 0 after a failure. */
  drain(): number;
  /**
   * Sleep for up to `ms` (whole milliseconds) without going back to the loop: true when events are pending. False
   * when the loop has something else to do, be it a socket or a timer; the time is over; or the poller has stopped.
   */
  sleep(ms: number): boolean;
  /** No callback comes after this. A second call does nothing. */
  stop(): void;
  /** Whether the poller keeps the process alive, as it does at first. */
  ref(): void;
  unref(): void;
}
