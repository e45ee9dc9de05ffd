// SPDX-License-Identifier: MIT
/**
 * A xenstored for the simulated host: the tree, watches, and which domains there are. No permissions, quotas or
 * transactions: whoever reaches the socket owns the host. Behaviour as of Xen tools/xenstore/xenstored_core.c.
 */

import { createServer, type Server, type Socket } from "node:net";
import { encode, MessageReader, strings, wordsOf, XS } from "../xenstore/wire.js";

interface Client {
  readonly socket: Socket;
  /** Token and path of each watch. */
  readonly watches: Array<{ path: string; token: string }>;
}

/** What a request is answered with, or the name of an errno. */
type Answer = Buffer | { readonly errno: string };

const OK = strings("OK");
const refuse = (errno: string): Answer => ({ errno });

export class SimXenstored {
  readonly path: string;
  readonly #server: Server;
  readonly #nodes = new Map<string, string>([["/", ""]]);
  readonly #domains = new Set<number>();
  readonly #clients = new Set<Client>();

  /** `path`: of the socket, which must not be there yet. */
  static listen(path: string): Promise<SimXenstored> {
    return new Promise((resolve, reject) => {
      const store: SimXenstored = new SimXenstored(path, () => resolve(store), reject);
    });
  }

  private constructor(path: string, ready: () => void, failed: (error: Error) => void) {
    this.path = path;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.once("error", failed);
    this.#server.listen(path, ready);
    this.#server.unref();
  }

  /** A domain as libxl would have built it. */
  introduce(domid: number, name: string): void {
    this.#domains.add(domid);
    this.write(`/local/domain/${domid}/name`, name);
    this.#fire("@introduceDomain", "@introduceDomain");
  }

  /** A domain has shut down, but is still there. */
  shutDown(): void {
    this.#fire("@releaseDomain", "@releaseDomain");
  }

  /** A domain is being destroyed: libxl removes its nodes, Xen tells that it ends. */
  release(domid: number): void {
    this.#domains.delete(domid);
    this.#remove(`/local/domain/${domid}`);
    this.#remove(`/local/domain/0/device-model/${domid}`);
    this.#fire("@releaseDomain", "@releaseDomain");
  }

  read(path: string): string | null {
    return this.#nodes.get(path) ?? null;
  }

  write(path: string, value: string): void {
    for (let at = path.indexOf("/", 1); at > 0; at = path.indexOf("/", at + 1)) {
      const above = path.slice(0, at);
      if (!this.#nodes.has(above)) this.#nodes.set(above, "");
    }
    this.#nodes.set(path, value);
    this.#fire(path, path);
  }

  /** All nodes at or below a path that have a value. */
  values(path: string): Record<string, string> {
    return Object.fromEntries(
      [...this.#nodes].filter(([node, value]) => (node === path || node.startsWith(`${path}/`)) && value !== ""),
    );
  }

  close(): void {
    this.#server.close();
    for (const { socket } of this.#clients) socket.destroy();
  }

  #accept(socket: Socket): void {
    const client: Client = { socket, watches: [] };
    const reader = new MessageReader();
    this.#clients.add(client);
    socket.unref();
    socket.on("close", () => this.#clients.delete(client));
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      try {
        for (const { type, request, payload } of reader.push(chunk)) this.#serve(client, type, request, payload);
      } catch {
        socket.destroy(); // it does not speak the protocol
      }
    });
  }

  #serve(client: Client, type: number, request: number, payload: Buffer): void {
    const answer = this.#answer(client, type, payload);
    const message = Buffer.isBuffer(answer)
      ? encode(type, request, answer)
      : encode(XS.error, request, strings(answer.errno));
    client.socket.write(message);
    // As xenstored does: a watch fires once when it is made, after the answer.
    if (type === XS.watch && Buffer.isBuffer(answer)) {
      const [path = "", token = ""] = wordsOf(payload);
      client.socket.write(encode(XS.watchEvent, 0, strings(path, token)));
    }
  }

  #answer(client: Client, type: number, payload: Buffer): Answer {
    const [path = "", second = ""] = wordsOf(payload);
    switch (type) {
      case XS.read: {
        const value = this.#nodes.get(path);
        return value === undefined ? refuse("ENOENT") : Buffer.from(value);
      }
      case XS.write:
        if (!path.startsWith("/")) return refuse("EINVAL");
        this.write(path, payload.subarray(payload.indexOf(0) + 1).toString("utf8"));
        return OK;
      case XS.mkdir:
        if (!this.#nodes.has(path)) this.write(path, "");
        return OK;
      case XS.directory: {
        if (!this.#nodes.has(path)) return refuse("ENOENT");
        return strings(...this.#children(path));
      }
      case XS.rm: {
        // That the node is missing is fine, that its parent is missing is not.
        const parent = path.slice(0, path.lastIndexOf("/")) || "/";
        if (!this.#nodes.has(parent)) return refuse("ENOENT");
        this.#remove(path);
        return OK;
      }
      case XS.watch:
        if (client.watches.some((watch) => watch.path === path && watch.token === second)) return refuse("EEXIST");
        client.watches.push({ path, token: second });
        return OK;
      case XS.unwatch: {
        const at = client.watches.findIndex((watch) => watch.path === path && watch.token === second);
        if (at < 0) return refuse("ENOENT");
        client.watches.splice(at, 1);
        return OK;
      }
      case XS.getDomainPath:
        return strings(`/local/domain/${path}`);
      case XS.isDomainIntroduced:
        return strings(path === "0" || this.#domains.has(Number(path)) ? "T" : "F");
      default:
        return refuse("ENOSYS");
    }
  }

  #children(path: string): string[] {
    const prefix = path === "/" ? "/" : `${path}/`;
    return [...this.#nodes.keys()]
      .filter((node) => node.startsWith(prefix) && node !== "/" && !node.includes("/", prefix.length))
      .map((node) => node.slice(prefix.length));
  }

  #remove(path: string): void {
    const gone = [...this.#nodes.keys()].filter((node) => node === path || node.startsWith(`${path}/`));
    for (const node of gone) this.#nodes.delete(node);
    if (gone.length === 0) return;
    // Who watches the node or above hears of it once, who watches below hears of what was watched.
    this.#fire(path, path);
    for (const node of gone) if (node !== path) this.#fireExactly(node);
  }

  #fire(changed: string, event: string): void {
    for (const { socket, watches } of this.#clients) {
      for (const { path, token } of watches) {
        if (changed !== path && !changed.startsWith(path === "/" ? "/" : `${path}/`)) continue;
        socket.write(encode(XS.watchEvent, 0, strings(event, token)));
      }
    }
  }

  #fireExactly(node: string): void {
    for (const { socket, watches } of this.#clients) {
      for (const { path, token } of watches) {
        if (path === node) socket.write(encode(XS.watchEvent, 0, strings(node, token)));
      }
    }
  }
}
