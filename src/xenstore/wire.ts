// SPDX-License-Identifier: MIT
/**
 * Messages between xenstored and its clients: a header of four 32-bit words (type, request id, transaction id,
 * length of the payload), little-endian on all machines we run on, then the payload.
 * Source: Xen public/io/xs_wire.h, docs/misc/xenstore.txt.
 */

/** enum xsd_sockmsg_type. */
export const XS = {
  directory: 1,
  read: 2,
  getPerms: 3,
  watch: 4,
  unwatch: 5,
  transactionStart: 6,
  transactionEnd: 7,
  introduce: 8,
  release: 9,
  getDomainPath: 10,
  write: 11,
  mkdir: 12,
  rm: 13,
  setPerms: 14,
  watchEvent: 15,
  error: 16,
  isDomainIntroduced: 17,
  resetWatches: 21,
  directoryPart: 22,
} as const;

export const HEADER_SIZE = 16;
/** XENSTORE_PAYLOAD_MAX, in bytes; whoever sends more is cut off. */
export const PAYLOAD_MAX = 4096;
/** XENSTORE_ABS_PATH_MAX, in bytes. */
export const PATH_MAX = 3072;

export interface Message {
  readonly type: number;
  readonly request: number;
  /** 0: not of a transaction. */
  readonly transaction: number;
  readonly payload: Buffer;
}

export function encode(type: number, request: number, payload: Buffer, transaction = 0): Buffer {
  const header = Buffer.alloc(HEADER_SIZE);
  header.writeUInt32LE(type, 0);
  header.writeUInt32LE(request, 4);
  header.writeUInt32LE(transaction, 8);
  header.writeUInt32LE(payload.length, 12);
  return Buffer.concat([header, payload]);
}

/** Strings, each with a NUL behind it. */
export const strings = (...words: readonly string[]): Buffer => Buffer.from(words.map((word) => `${word}\0`).join(""));

/** The strings of a payload, with or without a NUL behind the last. */
export function wordsOf(payload: Buffer): string[] {
  const words = payload.toString("utf8").split("\0");
  if (words.at(-1) === "") words.pop();
  return words;
}

/** Puts messages together from a stream that may be cut anywhere. */
export class MessageReader {
  #rest: Buffer = Buffer.alloc(0);

  /** The messages that are complete now. Throws a RangeError for one longer than the protocol allows. */
  *push(chunk: Buffer): Generator<Message> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= HEADER_SIZE) {
      const length = this.#rest.readUInt32LE(12);
      if (length > PAYLOAD_MAX) throw new RangeError(`a message of ${length} bytes, ${PAYLOAD_MAX} are allowed`);
      if (this.#rest.length < HEADER_SIZE + length) return;
      const message = {
        type: this.#rest.readUInt32LE(0),
        request: this.#rest.readUInt32LE(4),
        transaction: this.#rest.readUInt32LE(8),
        payload: this.#rest.subarray(HEADER_SIZE, HEADER_SIZE + length),
      };
      this.#rest = this.#rest.subarray(HEADER_SIZE + length);
      yield message;
    }
  }
}
