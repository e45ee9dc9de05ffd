// SPDX-License-Identifier: MIT
/** A client of xenstored, over its socket. */

import { messageOf } from "../base/errors.js";
import { Connection } from "./connection.js";
import { XenStoreNodes } from "./nodes.js";
import { inTransaction, type XenStoreTransaction } from "./transaction.js";
import { wordsOf, XS } from "./wire.js";

export type { XenStoreTransaction } from "./transaction.js";

export interface XenStoreOptions {
  /** Where xenstored listens; default: as libxenstore finds it (XENSTORED_PATH, XENSTORED_RUNDIR, /run/xenstored). */
  readonly path?: string;
  /** How long an answer may take, in ms, before xenstored counts as gone; 10000 unless told. */
  readonly timeoutMs?: number;
}

export interface Watch {
  /** No call comes after this. */
  close(): Promise<void>;
}

/** Called with the path that changed. What it throws, or rejects with, becomes a process warning. */
export type WatchCallback = (path: string) => unknown;

const TIMEOUT_MS = 10_000;

/**
 * Requests may be made at any time, also while others are under way; they are answered in order.
 *
 * Errors: XENSTORE_UNREACHABLE (nobody answers at the socket), XENSTORE_REFUSED (`details.errno` has the name),
 * XENSTORE_LOST (the connection has ended; it stays so, for xenstored can't be started again on a running host).
 */
export class XenStore extends XenStoreNodes {
  readonly #connection: Connection;
  readonly #watches: Map<string, WatchCallback>;
  #lastToken = 0;

  static async connect(options: XenStoreOptions = {}): Promise<XenStore> {
    const watches = new Map<string, WatchCallback>();
    const onEvent = ([path = "", token = ""]: readonly string[]): void => {
      const changed = watches.get(token);
      if (changed !== undefined) void tell(changed, path);
    };
    const connection = await Connection.open(options.path, options.timeoutMs ?? TIMEOUT_MS, onEvent);
    return new XenStore(connection, watches);
  }

  private constructor(connection: Connection, watches: Map<string, WatchCallback>) {
    super(connection, 0);
    this.#connection = connection;
    this.#watches = watches;
  }

  /** Resolves when the connection ended without close(). */
  get lost(): Promise<Error> {
    return this.#connection.lost;
  }

  /** Whether the domain is there and not being destroyed; one that has shut down still is. */
  async isIntroduced(domid: number): Promise<boolean> {
    const payload = await this.request(XS.isDomainIntroduced, [String(domid)], `ask for domain ${domid}`);
    return wordsOf(payload)[0] === "T";
  }

  /**
   * Others see all that `work` did, at its end, or nothing of it when it throws. Where others changed what it has
   * looked at or written, it is done again from the start: so it does nothing but use its argument, and waits
   * for each step. Throws what `work` throws, and XENSTORE_REFUSED (EAGAIN) after 64 attempts.
   */
  transaction<T>(work: (transaction: XenStoreTransaction) => Promise<T>): Promise<T> {
    return inTransaction(this.#connection, work);
  }

  /**
   * `changed` is called once soon, as xenstored does, and then for each change at or below `path`; or, for
   * "@introduceDomain" and "@releaseDomain", whenever domains come and go. Changes that follow each other closely
   * may be told as one: what there is now is to be read.
   */
  async watch(path: string, changed: WatchCallback): Promise<Watch> {
    this.#lastToken += 1;
    const token = String(this.#lastToken);
    this.#watches.set(token, changed);
    try {
      await this.request(XS.watch, [path, token], `watch ${path}`);
    } catch (error) {
      this.#watches.delete(token);
      throw error;
    }
    return {
      close: async () => {
        if (!this.#watches.delete(token) || !this.#connection.open) return;
        await this.request(XS.unwatch, [path, token], `unwatch ${path}`);
      },
    };
  }

  /** No call of a watch comes after this, and what is under way fails with XENSTORE_LOST. */
  close(): void {
    this.#watches.clear();
    this.#connection.close();
  }

  /** Whether the connection keeps the process alive, as it does at first. */
  ref(): void {
    this.#connection.ref();
  }

  unref(): void {
    this.#connection.unref();
  }
}

/** A mistake in a callback is neither xenstored's, nor may it end the process. */
async function tell(changed: WatchCallback, path: string): Promise<void> {
  try {
    await changed(path);
  } catch (error) {
    process.emitWarning(`a watch of xenstore, called for ${path}, threw: ${messageOf(error)}`, "XenStoreWarning");
  }
}
