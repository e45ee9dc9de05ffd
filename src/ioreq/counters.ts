// SPDX-License-Identifier: MIT
/** What was asked and what went wrong, counted. Plain numbers: nothing here costs on the hot path. */

export class Counters {
  /** Requests answered, by kind. */
  pio = 0;
  copy = 0;
  pciConfig = 0;
  timeoffset = 0;
  invalidate = 0;
  /** Elements of rep requests. */
  repElements = 0;
  /** Entries taken from the buffered ring. */
  buffered = 0;
  /** Answered later than at once. */
  deferred = 0;
  /** Requests that Xen would not send: unknown type, odd width, impossible count. Answered all-ones. */
  malformed = 0;
  /** Guest memory that a rep request named and that is not there. */
  memoryFaults = 0;
  /** Handlers that threw: undone, answered all-ones. */
  handlerErrors = 0;
  /** Wake-ups of an event channel, those with nothing to serve, and ports nobody knows. */
  events = 0;
  spurious = 0;
  unknownPorts = 0;
  /** Requests found while polling, without an event. */
  polled = 0;
  /** Replies that could not be notified. */
  notifyErrors = 0;
  /** Things the hypervisor refused (a range, an interrupt). */
  refused = 0;

  total(): number {
    return this.pio + this.copy + this.pciConfig + this.timeoffset + this.invalidate;
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries(
      Object.entries(this).filter((entry): entry is [string, number] => typeof entry[1] === "number"),
    );
  }
}
