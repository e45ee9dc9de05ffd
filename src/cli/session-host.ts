// SPDX-License-Identifier: MIT
/** What the tree of a session asks of Xen, and what the log says of it. */

import { messageOf } from "../base/errors.js";
import { hex } from "../base/hex.js";
import { type DomId, formatRange, formatSbdf } from "../base/ids.js";
import { refuseTaken } from "../ioreq/other-servers.js";
import type { IoreqServer } from "../ioreq/server.js";
import type { ForeignMemory } from "../memory/guest-memory.js";
import type { GuestEvents } from "../observe/guest-events.js";
import type { Logger } from "../observe/log.js";
import type { PciHost } from "../pci/rights.js";
import type { XenHost } from "../xen/host.js";

export interface HostParts {
  readonly domid: DomId;
  readonly xen: XenHost;
  readonly server: IoreqServer;
  readonly memory: ForeignMemory;
  readonly events: GuestEvents;
  readonly log: Logger;
}

export function sessionHost({ domid, xen, server, memory, events, log }: HostParts): PciHost {
  return {
    refuseTaken: (functions) => refuseTaken(xen, domid, server.id, functions),
    mapFunction: (sbdf) => {
      xen.mapPciDevice(domid, server.id, sbdf);
      log.debug({ function: formatSbdf(sbdf) }, "function claimed");
    },
    unmapFunction: (sbdf) => {
      xen.unmapPciDevice(domid, server.id, sbdf);
      log.debug({ function: formatSbdf(sbdf) }, "function given up");
    },
    mapRange: (space, first, last) => {
      xen.mapIoRange(domid, server.id, space, first, last);
      log.debug({ space, range: formatRange(first, last) }, "range mapped");
    },
    unmapRange: (space, first, last) => {
      xen.unmapIoRange(domid, server.id, space, first, last);
      log.debug({ space, range: formatRange(first, last) }, "range unmapped");
    },
    mapWindow: (segment, { base, firstBus, buses }) => {
      const window = { segment, base, startBus: firstBus, endBus: firstBus + buses - 1, translated: true };
      xen.mapMmcfg(domid, server.id, window);
      log.debug({ segment, base: hex(base), buses }, "ECAM window told");
    },
    unmapWindow: (segment) => {
      xen.unmapMmcfg(domid, server.id, segment);
      log.debug({ segment }, "ECAM window taken back");
    },
    setIntx: (device, pin, asserted) => {
      xen.setIntxLevel(domid, device, pin as 0 | 1 | 2 | 3, asserted);
      log.debug({ device: hex(device), pin: "ABCD"[pin], asserted }, "interrupt line");
    },
    sendMessage: (hi, lo, data) => {
      const address = (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0);
      if (isInterruptAddress(lo)) xen.injectMsi(domid, address, data);
      else writeMessage(address, data);
      if (log.isLevelEnabled("debug")) {
        log.debug({ address: hex(address), data: hex(data >>> 0) }, "message-signalled interrupt");
      }
    },
    noticed: (what, fields) => events.note("", what, fields),
    refused: (what, error) => {
      server.counters.refused += 1;
      events.note("", `Xen refused to ${what}`, { error: messageOf(error) });
    },
  };

  /** A guest may point a message anywhere. It is a write of memory, so that is what it gets. */
  function writeMessage(address: number, data: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setInt32(0, data, true);
    if (memory.write(BigInt(address), bytes)) return;
    events.note("", "message-signalled interrupt to an address without memory", { address: hex(address) });
  }
}

/** Where x86 processors listen. What is above 32 bits can name more of a destination. Source: Intel SDM 3A 11.11.1. */
const isInterruptAddress = (lo: number): boolean => (lo & 0xfff0_0000) === (0xfee0_0000 | 0);
