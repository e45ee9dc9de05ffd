// SPDX-License-Identifier: MIT
/** Event channels through libxenevtchn, and their readiness through the addon. */

import { IoreqdError } from "../base/errors.js";
import type { DomId, EvtchnPort } from "../base/ids.js";
import { type Addon, loadAddon } from "./addon.js";
import { callFailed, closedHandle, EVTCHN, errnoName, openFailed } from "./errno.js";
import type { Bound, FfiAdapter, Pointer } from "./ffi/table.js";
import type { EventChannels, EventPoller, Publish } from "./host.js";
import { locate } from "./libraries.js";
import { libxenevtchn } from "./tables/libxenevtchn.js";

export class NativeEventChannels implements EventChannels {
  readonly fd: number;
  readonly #ffi: FfiAdapter;
  readonly #addon: Addon;
  readonly #lib: Bound<typeof libxenevtchn>;
  readonly #closed: () => void;
  readonly #pollers = new Set<EventPoller>();
  /** Null once closed: the library would follow a stale one. */
  #handle: Pointer | null;

  /** `closed` is called by close(). Throws LIBRARY_MISSING, SYMBOL_MISSING, XEN_OPEN_FAILED, ADDON_MISSING. */
  constructor(ffi: FfiAdapter, closed: () => void = () => {}) {
    this.#ffi = ffi;
    this.#closed = closed;
    this.#addon = loadAddon();
    this.#lib = ffi.bind(libxenevtchn);
    this.#handle = this.#lib.xenevtchn_open(null, 0);
    if (this.#handle === null) throw openFailed(ffi.errno(), "xenevtchn_open", EVTCHN);
    this.fd = this.#lib.xenevtchn_fd(this.#handle);
  }

  bindInterdomain(domid: DomId, remotePort: EvtchnPort): EvtchnPort {
    const port = this.#lib.xenevtchn_bind_interdomain(this.#open, domid, remotePort);
    if (port < 0) throw callFailed(this.#ffi.errno(), "bind_interdomain", { domid, port: remotePort });
    return port as EvtchnPort;
  }

  unbind(port: EvtchnPort): void {
    if (this.#lib.xenevtchn_unbind(this.#open, port) !== 0) throw callFailed(this.#ffi.errno(), "unbind", { port });
  }

  notify(port: EvtchnPort): void {
    if (this.#lib.xenevtchn_notify(this.#open, port) !== 0) throw callFailed(this.#ffi.errno(), "notify", { port });
  }

  unmask(port: EvtchnPort): void {
    if (this.#lib.xenevtchn_unmask(this.#open, port) !== 0) throw callFailed(this.#ffi.errno(), "unmask", { port });
  }

  poll(onReadable: () => void, onFailure: (error: Error) => void): EventPoller {
    void this.#open;
    const addon = this.#addon;
    const { poller, ports } = addon.pollStart(this.fd, onReadable);
    const made: EventPoller = {
      ports,
      drain: () => {
        const count = addon.pollDrain(poller);
        if (count >= 0) return count;
        made.stop();
        onFailure(eventsLost(-count));
        return 0;
      },
      sleep: (ms) => addon.pollSleep(poller, ms),
      stop: () => {
        this.#pollers.delete(made);
        addon.pollStop(poller);
      },
      ref: () => addon.pollRef(poller, true),
      unref: () => addon.pollRef(poller, false),
    };
    this.#pollers.add(made);
    return made;
  }

  publisher(page: ArrayBuffer): Publish {
    // The same name finds the same copy of the library that the handle is from.
    return this.#addon.publisher(locate(libxenevtchn.soname), this.#ffi.address(this.#open), page);
  }

  close(): void {
    const handle = this.#handle;
    if (handle === null) return;
    for (const poller of [...this.#pollers]) poller.stop();
    this.#addon.revoke(this.#ffi.address(handle));
    this.#handle = null;
    this.#closed();
    if (this.#lib.xenevtchn_close(handle) !== 0) throw callFailed(this.#ffi.errno(), "xenevtchn_close", {});
  }

  get #open(): Pointer {
    if (this.#handle === null) throw closedHandle("the event channels");
    return this.#handle;
  }
}

/** EFBIG is what the kernel says when its ring of events overflowed. Source: Linux drivers/xen/evtchn.c. */
function eventsLost(errno: number): IoreqdError {
  const name = errnoName(errno);
  const reason =
    name === "EPIPE"
      ? "the simulated host has ended"
      : name === "EFBIG"
        ? "more events came than the kernel keeps"
        : "the descriptor is no longer good";
  return new IoreqdError("XEN_EVENTS_LOST", `no events can be read any more: ${name} (${reason})`, { errno: name });
}
