// SPDX-License-Identifier: MIT
/**
 * What a line to the outside has in the arena, one for each option of kind "chardev" that goes somewhere: the bytes on
 * their way out, and the byte that has just come in. A process that takes over finds both, and goes on with them.
 *
 * A byte is queued within the transaction of the access that sent it, so an access that is undone has sent nothing.
 * That it has gone out is a store that is part of none: it is out, and nothing can undo that.
 */

import type { Arena } from "../state/arena.js";
import type { PlaceDescription } from "../state/layout.js";

/** Bytes that may wait: a power of two. */
export const RING_SIZE = 16 * 1024;
/** Where the parts are, in bytes; native/addon/stream.c knows `sent`, `queued` and `ring`. */
const AT = { sent: 0, queued: 4, peer: 8, landing: 12, ring: 16, header: 16 + RING_SIZE } as const;
/** struct mmsghdr, and in it msg_len. Source: recvmmsg(2), 64-bit layout. */
const HEADER_SIZE = 64;
const MSG_LEN = 56;

/** The landing, for one read of one byte: the control byte, the byte itself, and what is read. */
const LANDING = { control: 0, byte: 1, reading: 2 } as const;
const READING = { nothing: 0, terminal: 1, socket: 2 } as const;
/** About to read, with a control byte that no kernel gives: data comes with 0. Source: ioctl_tty(2), TIOCPKT. */
const ARMED = 0xff;

export function placeChardev(): { places: PlaceDescription[]; length: number } {
  const places: PlaceDescription[] = (["sent", "queued", "peer", "landing"] as const).map((name) => ({
    name,
    at: AT[name],
    width: 4,
    kind: "number",
  }));
  places.push({ name: "ring", at: AT.ring, width: RING_SIZE, kind: "bytes" });
  places.push({ name: "header", at: AT.header, width: HEADER_SIZE, kind: "bytes" });
  return { places, length: AT.header + HEADER_SIZE };
}

export class ChardevState {
  /** The arena's file, and where in it this begins. */
  readonly file: Uint8Array;
  readonly at: number;
  readonly size = RING_SIZE;
  readonly #arena: Arena;

  /** `at`: byte offset of the group in the arena's data area. */
  constructor(arena: Arena, at: number) {
    this.#arena = arena;
    this.file = arena.u8;
    this.at = arena.dataAt + at;
    // No process leaves more than the ring holds: something has written into the file, and would have us send up to 4 GiB.
    if (this.waiting > RING_SIZE) this.discard();
  }

  /** Bytes queued and not sent. */
  get waiting(): number {
    return (this.#word(AT.queued) - this.#word(AT.sent)) >>> 0;
  }

  /** Queue a byte. False, and nothing happens, when there is no room. Within a transaction. */
  append(byte: number): boolean {
    if (this.waiting >= RING_SIZE) return false;
    const queued = this.#word(AT.queued);
    this.#arena.store(this.at + AT.ring + (queued & (RING_SIZE - 1)), 1, byte);
    this.#arena.setWord((this.at + AT.queued) >>> 2, (queued + 1) | 0);
    return true;
  }

  /** What waits was for somebody who has gone. Part of no transaction. */
  discard(): void {
    this.#settle(AT.sent, this.#word(AT.queued));
  }

  /** Somebody is at the other end, or was when a process died. Setting it is part of no transaction. */
  get peer(): boolean {
    return this.#word(AT.peer) !== 0;
  }
  set peer(there: boolean) {
    this.#settle(AT.peer, there ? 1 : 0);
  }

  /** Where a read puts its byte, behind a control byte: an offset in `file`. */
  get landing(): number {
    return this.at + AT.landing;
  }

  /** Where a read of a socket has its header. */
  get header(): number {
    return this.at + AT.header;
  }

  /** Before each read: from now on it can be told whether one has happened. Part of no transaction. */
  arm(source: "terminal" | "socket"): void {
    // What an earlier read left in the header must not count for this one.
    this.#settle(AT.header + MSG_LEN, -1);
    this.#settle(AT.landing, (READING[source] << (8 * LANDING.reading)) | ARMED);
  }

  /** The byte that a read brought and that nobody has taken, or -1. */
  get landed(): number {
    const at = this.landing;
    const { file } = this;
    const reading = file[at + LANDING.reading];
    const terminal = reading === READING.terminal && file[at + LANDING.control] === 0;
    const socket = reading === READING.socket && this.#word(AT.header + MSG_LEN) === 1;
    return terminal || socket ? (file[at + LANDING.byte] as number) : -1;
  }

  /** Where a socket's byte goes. */
  get landingByte(): number {
    return this.landing + LANDING.byte;
  }

  /** It was taken. Within the transaction that took it. */
  take(): void {
    this.#arena.setWord(this.landing >>> 2, 0);
  }

  #word(at: number): number {
    return this.#arena.i32[(this.at + at) >>> 2] as number;
  }

  #settle(at: number, value: number): void {
    this.#arena.settle((this.at + at) >>> 2, value);
  }
}
