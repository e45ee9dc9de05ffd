// SPDX-License-Identifier: MIT
/** What one client of the simulated xenstored may ask, and what it is answered. */

import { PAYLOAD_MAX, strings, wordsOf, XS } from "../xenstore/wire.js";
import { StoreError, type StoreTree, type Transaction } from "./store-tree.js";

export interface StoreWatch {
  /** As the client wrote it. */
  readonly path: string;
  /** The same, beginning with / or @. */
  readonly absolute: string;
  readonly token: string;
}

interface Request {
  readonly type: number;
  readonly transaction: number;
  readonly payload: Buffer;
}

const OK = strings("OK");
/** What paths without a / at their beginning are below, for a client in dom0. */
const HOME = "/local/domain/0";
const EVENTS = ["@introduceDomain", "@releaseDomain"];

export class StoreCalls {
  readonly watches: StoreWatch[] = [];
  readonly #tree: StoreTree;
  readonly #isIntroduced: (domid: number) => boolean;
  readonly #transactions = new Map<number, Transaction>();
  #lastTransaction = 0;

  constructor(tree: StoreTree, isIntroduced: (domid: number) => boolean) {
    this.#tree = tree;
    this.#isIntroduced = isIntroduced;
  }

  /** The answer's payload. Throws StoreError. */
  answer({ type, transaction, payload }: Request): Buffer {
    const nodes = transaction === 0 ? this.#tree : this.#transactions.get(transaction);
    if (nodes === undefined) throw new StoreError("ENOENT");
    const words = wordsOf(payload);
    const [first = "", second = ""] = words;
    switch (type) {
      case XS.read:
        return nodes.read(absolute(first));
      case XS.write:
        if (!payload.includes(0)) throw new StoreError("EINVAL");
        nodes.write(absolute(first), payload.subarray(payload.indexOf(0) + 1));
        return OK;
      case XS.mkdir:
        nodes.mkdir(absolute(first));
        return OK;
      case XS.rm:
        nodes.remove(absolute(first));
        return OK;
      case XS.directory:
        return limited(strings(...nodes.list(absolute(first))));
      case XS.directoryPart:
        return part(nodes.generation(absolute(first)), nodes.list(absolute(first)), Number(second));
      case XS.getPerms:
        return limited(strings(...nodes.permissions(absolute(first))));
      case XS.setPerms:
        nodes.setPermissions(absolute(first), words.slice(1));
        return OK;
      case XS.transactionStart:
        if (transaction !== 0) throw new StoreError("EBUSY");
        return strings(String(this.#begin()));
      case XS.transactionEnd:
        return this.#end(transaction, first);
      default:
        return this.#answerAside(type, first, second);
    }
  }

  /** What no transaction has a part in. */
  #answerAside(type: number, first: string, second: string): Buffer {
    switch (type) {
      case XS.watch:
        return this.#watch(first, second);
      case XS.unwatch:
        return this.#unwatch(first, second);
      case XS.resetWatches:
        this.watches.length = 0;
        this.#transactions.clear();
        return OK;
      case XS.getDomainPath:
        return strings(`/local/domain/${domidOf(first)}`);
      case XS.isDomainIntroduced:
        return strings(this.#isIntroduced(domidOf(first)) ? "T" : "F");
      default:
        throw new StoreError("ENOSYS");
    }
  }

  #begin(): number {
    this.#lastTransaction += 1;
    this.#transactions.set(this.#lastTransaction, this.#tree.begin());
    return this.#lastTransaction;
  }

  #end(id: number, how: string): Buffer {
    const transaction = this.#transactions.get(id);
    if (transaction === undefined) throw new StoreError("ENOENT");
    if (how !== "T" && how !== "F") throw new StoreError("EINVAL");
    this.#transactions.delete(id);
    if (how === "T") transaction.commit();
    return OK;
  }

  #watch(path: string, token: string): Buffer {
    const at = absolute(path);
    if (at.startsWith("@") ? !EVENTS.includes(at) : !this.#tree.isPath(at)) throw new StoreError("EINVAL");
    if (this.#watchAt(path, token) >= 0) throw new StoreError("EEXIST");
    this.watches.push({ path, absolute: at, token });
    return OK;
  }

  #unwatch(path: string, token: string): Buffer {
    const at = this.#watchAt(path, token);
    if (at < 0) throw new StoreError("ENOENT");
    this.watches.splice(at, 1);
    return OK;
  }

  #watchAt(path: string, token: string): number {
    return this.watches.findIndex((watch) => watch.path === path && watch.token === token);
  }
}

function absolute(path: string): string {
  return path.startsWith("/") || path.startsWith("@") ? path : `${HOME}/${path}`;
}

function domidOf(word: string): number {
  if (!/^\d+$/.test(word)) throw new StoreError("EINVAL");
  return Number(word);
}

function limited(payload: Buffer): Buffer {
  if (payload.length > PAYLOAD_MAX) throw new StoreError("E2BIG");
  return payload;
}

/** The node's generation, the names that fit from a byte offset on, and after the last one an empty name. */
function part(generation: number, names: readonly string[], offset: number): Buffer {
  const all = strings(...names);
  if (!Number.isInteger(offset) || offset < 0) throw new StoreError("EINVAL");
  const head = strings(String(generation));
  const room = PAYLOAD_MAX - head.length - 1;
  if (all.length - offset <= room) return Buffer.concat([head, all.subarray(offset), strings("")]);
  const end = all.lastIndexOf(0, offset + room - 1) + 1;
  return Buffer.concat([head, all.subarray(offset, end)]);
}
