// SPDX-License-Identifier: MIT
/** A xenstored for the simulated host: nodes, watches, transactions, and which domains there are. */

import { randomUUID } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import { encode, type Message, MessageReader, strings, wordsOf, XS } from "../xenstore/wire.js";
import { StoreCalls } from "./store-calls.js";
import { type Change, StoreError, StoreTree } from "./store-tree.js";

interface Client {
  readonly socket: Socket;
  readonly calls: StoreCalls;
}

export class SimXenstored {
  readonly path: string;
  readonly #server: Server;
  readonly #tree = new StoreTree((change) => this.#fire(change));
  /** Of each domain, the nodes that end with it. */
  readonly #domains = new Map<number, readonly string[]>([[0, []]]);
  readonly #clients = new Set<Client>();

  /** `path`: of the socket, which must not be there yet. */
  static listen(path: string): Promise<SimXenstored> {
    return new Promise((resolve, reject) => {
      const store: SimXenstored = new SimXenstored(path, () => resolve(store), reject);
    });
  }

  private constructor(path: string, ready: () => void, failed: (error: Error) => void) {
    this.path = path;
    this.write("/local/domain/0/name", "Domain-0");
    this.write("/local/domain/0/domid", "0");
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.once("error", failed);
    this.#server.listen(path, ready);
    this.#server.unref();
  }

  /** A domain as libxl would have built it. Source: Xen tools/libs/light/libxl_create.c, libxl__domain_make(). */
  introduce(domid: number, name: string): void {
    const uuid = randomUUID();
    const [home, vm] = [`/local/domain/${domid}`, `/vm/${uuid}`];
    this.write(`${vm}/uuid`, uuid);
    this.write(`${vm}/name`, name);
    this.write(`${home}/vm`, vm);
    this.write(`${home}/name`, name);
    this.write(`${home}/domid`, String(domid));
    this.#domains.set(domid, [`/local/domain/0/device-model/${domid}`, vm, home]);
    this.#fire({ path: "@introduceDomain", exact: true });
  }

  /** A domain has shut down or crashed, but is still there. */
  shutDown(): void {
    this.#fire({ path: "@releaseDomain", exact: true });
  }

  /** A domain is being destroyed: libxl removes its nodes, then Xen tells that it ends. A second call does nothing. */
  release(domid: number): void {
    const nodes = this.#domains.get(domid);
    if (nodes === undefined) return;
    for (const node of nodes) if (this.#tree.has(node)) this.#tree.remove(node);
    this.#domains.delete(domid);
    this.#fire({ path: "@releaseDomain", exact: true });
  }

  /** Null: there is no such node. */
  read(path: string): string | null {
    return this.#tree.has(path) ? this.#tree.read(path).toString("utf8") : null;
  }

  write(path: string, value: string): void {
    this.#tree.write(path, Buffer.from(value));
  }

  /** All nodes at or below a path that have a value. */
  values(path: string): Record<string, string> {
    if (!this.#tree.has(path)) return {};
    const value = this.read(path);
    const below = this.#tree.list(path).map((name) => this.values(path === "/" ? `/${name}` : `${path}/${name}`));
    return Object.assign(value === null || value === "" ? {} : { [path]: value }, ...below) as Record<string, string>;
  }

  /** Clients see their connections end. */
  close(): void {
    this.#server.close();
    for (const { socket } of this.#clients) socket.destroy();
  }

  #accept(socket: Socket): void {
    const client: Client = { socket, calls: new StoreCalls(this.#tree, (domid) => this.#domains.has(domid)) };
    const reader = new MessageReader();
    this.#clients.add(client);
    socket.unref();
    socket.on("close", () => this.#clients.delete(client));
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      try {
        for (const message of reader.push(chunk)) this.#serve(client, message);
      } catch {
        socket.destroy(); // it does not speak the protocol
      }
    });
  }

  #serve({ socket, calls }: Client, message: Message): void {
    const { type, request, transaction, payload } = message;
    try {
      socket.write(encode(type, request, calls.answer(message), transaction));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      socket.write(encode(XS.error, request, strings(error.errno), transaction));
      return;
    }
    if (type !== XS.watch) return;
    // As xenstored does: a watch fires once when it is made, after the answer.
    const [path = "", token = ""] = wordsOf(payload);
    socket.write(encode(XS.watchEvent, 0, strings(path, token)));
  }

  #fire({ path, exact }: Change): void {
    for (const { socket, calls } of this.#clients) {
      for (const { path: asked, absolute, token } of calls.watches) {
        const above = absolute === "/" ? "/" : `${absolute}/`;
        if (path !== absolute && (exact || !path.startsWith(above))) continue;
        // Who watches a path below its home hears of such.
        const told = asked === absolute ? path : path.slice(absolute.length - asked.length);
        socket.write(encode(XS.watchEvent, 0, strings(told, token)));
      }
    }
  }
}
