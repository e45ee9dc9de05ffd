// SPDX-License-Identifier: MIT
/** Reading and changing nodes, one by one or as parts of a transaction. */

import type { Connection } from "./connection.js";
import { isRefusal, refused } from "./errors.js";
import { strings, wordsOf, XS } from "./wire.js";

/** How often a list that changes while it is read in parts is begun anew. */
const ATTEMPTS = 32;

/** What may be done inside and outside of transactions. Throws XENSTORE_REFUSED and XENSTORE_LOST. */
export class XenStoreNodes {
  readonly #connection: Connection;
  readonly #transaction: number;

  constructor(connection: Connection, transaction: number) {
    this.#connection = connection;
    this.#transaction = transaction;
  }

  /** Null: there is no such node. */
  async read(path: string): Promise<string | null> {
    const payload = await unlessAbsent(this.request(XS.read, [path], `read ${path}`));
    return payload === null ? null : payload.toString("utf8");
  }

  /** Makes the node, and what lies above it, where they are missing. */
  async write(path: string, value: string): Promise<void> {
    await this.request(XS.write, [path], `write ${path}`, Buffer.from(value));
  }

  /** The node and all below it. That there is none is fine. */
  async remove(path: string): Promise<void> {
    await unlessAbsent(this.request(XS.rm, [path], `remove ${path}`));
  }

  /** Names of the nodes below. Null: there is no such node. */
  async list(path: string): Promise<string[] | null> {
    try {
      const payload = await unlessAbsent(this.request(XS.directory, [path], `list ${path}`));
      return payload === null ? null : wordsOf(payload);
    } catch (error) {
      if (isRefusal(error, "E2BIG")) return this.#listInParts(path);
      throw error;
    }
  }

  /** `words`: none has a NUL, which would make it two. `data` stands behind the last, without a NUL. */
  protected async request(
    type: number,
    words: readonly string[],
    what: string,
    data: Buffer = Buffer.alloc(0),
  ): Promise<Buffer> {
    if (words.some((word) => word.includes("\0"))) throw refused(what.replaceAll("\0", "\\0"), "EINVAL");
    return this.#connection.request(type, Buffer.concat([strings(...words), data]), what, this.#transaction);
  }

  /** For more names than one message holds: a generation of the node, and names from a byte offset on. */
  async #listInParts(path: string): Promise<string[] | null> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const names: string[] = [];
      let first: string | undefined;
      for (let offset = 0; ; ) {
        const request = this.request(XS.directoryPart, [path, String(offset)], `list ${path} from byte ${offset}`);
        const payload = await unlessAbsent(request);
        if (payload === null) return null;
        const [generation, ...part] = wordsOf(payload);
        first ??= generation;
        if (generation !== first) break; // it has changed since
        const last = part.at(-1) === ""; // an empty name ends the list
        if (last) part.pop();
        names.push(...part);
        if (last) return names;
        if (part.length === 0) throw refused(`list ${path} from byte ${offset}`, "EIO");
        offset += strings(...part).length;
      }
    }
    throw refused(`list ${path}`, "EAGAIN");
  }
}

/** Null where there is no such node. */
async function unlessAbsent(request: Promise<Buffer>): Promise<Buffer | null> {
  try {
    return await request;
  } catch (error) {
    if (isRefusal(error, "ENOENT")) return null;
    throw error;
  }
}
