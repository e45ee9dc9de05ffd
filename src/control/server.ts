// SPDX-License-Identifier: MIT
/**
 * The control socket: whoever may open it can ask a serving process for
 * things. Nothing that comes in can keep the process from its guest for
 * longer than one request takes: what is waiting is bounded, and after each
 * request the event loop has its turn.
 */

import { lstatSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { IoreqdError, messageOf } from "../base/errors.js";
import { LONGEST_SOCKET_PATH } from "../base/unix-socket.js";
import { answer, type ControlCommands, LIMITS, type Limits, type Reply } from "./protocol.js";

/** Only its owner may open it. */
const UMASK = 0o177;
const NEWLINE = 10;
/** How long, in ms, a client has to read why it is refused. */
const LINGER_MS = 1000;

export interface ControlParts {
  /** Nobody else may listen there: a socket that is there was left behind, and is replaced. */
  readonly path: string;
  readonly commands: ControlCommands;
  /** An error that is a fault of ours. */
  readonly fault: (error: unknown) => void;
  readonly limits?: Limits;
}

export class ControlServer {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();

  /** Listens when it returns. Throws CONTROL_FAILED. */
  constructor(parts: ControlParts) {
    const { path, fault, limits = LIMITS } = parts;
    this.#server = createServer((socket) => {
      const connection = new Connection(socket, parts, () => this.#connections.delete(connection));
      this.#connections.add(connection);
      if (this.#connections.size > limits.connections * 2) {
        connection.close(); // not even a word for those who don't listen
      } else if (this.#connections.size > limits.connections) {
        connection.refuse("CONTROL_BUSY", `${limits.connections} connections are open already: close one`);
      }
    });
    let failed: unknown = null;
    this.#server.on("error", (error) => {
      failed = error;
      fault(error);
    });
    try {
      removeOld(path);
      listen(this.#server, path);
    } catch (error) {
      throw new IoreqdError("CONTROL_FAILED", `no control socket at ${path}: ${messageOf(failed ?? error)}`, { path });
    }
  }

  /** No longer; the socket goes, and whoever is connected. */
  close(): void {
    this.#server.close();
    for (const connection of [...this.#connections]) connection.close();
  }
}

function listen(server: Server, path: string): void {
  if (Buffer.byteLength(path) > LONGEST_SOCKET_PATH) {
    throw new Error(`the path of a unix socket has at most ${LONGEST_SOCKET_PATH} bytes`);
  }
  const before = process.umask(UMASK);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  // Node.js tells why only later; that it failed is known now.
  if (!server.listening) throw new Error("cannot listen there");
}

function removeOld(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw new Error("something that is no socket is there; remove it");
  rmSync(path);
}

const lineOf = (reply: Reply): string => `${JSON.stringify(reply)}\n`;

class Connection {
  readonly #socket: Socket;
  readonly #parts: ControlParts;
  readonly #limits: Limits;
  #idle: NodeJS.Timeout;
  #refused = false;
  #arrived: Buffer = Buffer.alloc(0);
  #next: NodeJS.Immediate | null = null;

  constructor(socket: Socket, parts: ControlParts, closed: () => void) {
    const { limits = LIMITS } = parts;
    this.#socket = socket;
    this.#parts = parts;
    this.#limits = limits;
    this.#idle = setTimeout(
      () => this.refuse("CONTROL_IDLE", `no whole request came for ${limits.idleMs / 1000} s`),
      limits.idleMs,
    );
    this.#idle.unref();
    socket.on("error", () => {}); // "close" follows
    socket.on("close", () => {
      this.#stop();
      closed();
    });
    socket.on("data", (chunk: Buffer) => {
      if (this.#refused) return;
      socket.pause();
      this.#arrived = Buffer.concat([this.#arrived, chunk]);
      this.#serve();
    });
  }

  /** Say why, and hang up: as late as the client has read it, for a socket that is closed takes its words back. */
  refuse(code: string, message: string): void {
    this.#stop();
    this.#refused = true;
    this.#socket.end(lineOf({ id: null, error: { code, message } }));
    this.#socket.resume();
    this.#idle = setTimeout(() => this.close(), LINGER_MS);
    this.#idle.unref();
  }

  close(): void {
    this.#stop();
    this.#socket.destroy();
  }

  /** One request, then others have their turn. More is read when all that is here is answered. */
  #serve(): void {
    this.#next = null;
    if (this.#refused || this.#socket.destroyed) return;
    // A client that takes no replies is given none.
    if (this.#socket.writableNeedDrain) {
      this.#socket.once("drain", () => this.#serve());
      return;
    }
    const end = this.#arrived.indexOf(NEWLINE);
    if (Math.max(end, end < 0 ? this.#arrived.length : 0) > this.#limits.line) {
      this.refuse("CONTROL_REQUEST_INVALID", `a request has at most ${this.#limits.line} bytes`);
    } else if (end < 0) {
      this.#socket.resume();
    } else {
      const line = this.#arrived.subarray(0, end).toString();
      this.#arrived = this.#arrived.subarray(end + 1);
      this.#idle.refresh();
      void answer(line, this.#parts.commands, this.#parts.fault).then((reply) => {
        if (this.#refused || this.#socket.destroyed) return;
        this.#socket.write(lineOf(reply));
        this.#idle.refresh();
        this.#next = setImmediate(() => this.#serve());
      });
    }
  }

  #stop(): void {
    clearTimeout(this.#idle);
    if (this.#next !== null) clearImmediate(this.#next);
    this.#next = null;
    this.#arrived = Buffer.alloc(0);
  }
}
