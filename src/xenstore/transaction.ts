// SPDX-License-Identifier: MIT
/** Several steps that the rest of the world sees as one, or not at all. */

import type { Connection } from "./connection.js";
import { isRefusal, refused } from "./errors.js";
import { XenStoreNodes } from "./nodes.js";
import { strings, wordsOf, XS } from "./wire.js";

/** How often others may come in between. Each time somebody's transaction was completed, so all get on. */
const ATTEMPTS = 64;

/** Nodes as they were when the transaction began, and as it changed them. */
export class XenStoreTransaction extends XenStoreNodes {
  #over = false;

  /** From now on it throws XENSTORE_REFUSED: somebody did not wait for a step before the transaction's end. */
  end(): void {
    this.#over = true;
  }

  protected override request(type: number, words: readonly string[], what: string, data?: Buffer): Promise<Buffer> {
    if (this.#over) return Promise.reject(refused(`${what}, after the end of its transaction`, "EINVAL"));
    return super.request(type, words, what, data);
  }
}

/** As XenStore.transaction(). */
export async function inTransaction<T>(
  connection: Connection,
  work: (transaction: XenStoreTransaction) => Promise<T>,
): Promise<T> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const started = await connection.request(XS.transactionStart, strings(""), "start a transaction");
    const id = Number(wordsOf(started)[0]);
    const transaction = new XenStoreTransaction(connection, id);
    const end = (how: "T" | "F"): Promise<Buffer> => {
      transaction.end();
      return connection.request(XS.transactionEnd, strings(how), "end a transaction", id);
    };
    let result: T;
    try {
      result = await work(transaction);
    } catch (error) {
      await end("F").catch(() => {}); // why it ends is told by the error there is
      throw error;
    }
    try {
      await end("T");
      return result;
    } catch (error) {
      if (!isRefusal(error, "EAGAIN")) throw error;
    }
  }
  throw refused(`a transaction, ${ATTEMPTS} times`, "EAGAIN");
}
