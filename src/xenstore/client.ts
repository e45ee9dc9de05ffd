// SPDX-License-Identifier: MIT
/** A client of xenstored, over its socket. */

import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { IoreqdError, messageOf } from "../base/errors.js";
import { encode, type Message, MessageReader, PAYLOAD_MAX, strings, wordsOf, XS } from "./wire.js";

export interface XenStoreOptions {
  /** Where xenstored listens; default: as libxenstore finds it. */
  readonly path?: string;
  /** How long an answer may take, in ms, before xenstored counts as gone; 10000 unless told. */
  readonly timeoutMs?: number;
}

export interface Watch {
  /** No call comes after this. */
  close(): Promise<void>;
}

interface Waiting {
  readonly what: string;
  readonly answered: (message: Message) => void;
  readonly failed: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

const TIMEOUT_MS = 10_000;

/**
 * Errors: XENSTORE_UNREACHABLE (nobody answers at the socket), XENSTORE_REFUSED (`details.errno` has the name),
 * XENSTORE_LOST (the connection has ended; it stays so, for xenstored can't be started again on a running host).
 */
export class XenStore {
  /** Resolves when the connection ended without close(). */
  readonly lost: Promise<Error>;
  readonly #socket: Socket;
  readonly #timeoutMs: number;
  readonly #reader = new MessageReader();
  readonly #waiting = new Map<number, Waiting>();
  readonly #watches = new Map<string, (path: string) => void>();
  #lastRequest = 0;
  #lastToken = 0;
  #gone: Error | null = null;
  #tellLost: (error: Error) => void = () => {};

  static connect(options: XenStoreOptions = {}): Promise<XenStore> {
    const path = options.path ?? socketPath();
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once("error", (error) => reject(unreachable(path, error)));
      socket.once("connect", () => {
        socket.removeAllListeners("error");
        resolve(new XenStore(socket, options.timeoutMs ?? TIMEOUT_MS));
      });
    });
  }

  private constructor(socket: Socket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve;
    });
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("error", (error) => this.#end(lost(messageOf(error))));
    socket.on("close", () => this.#end(lost("it closed the connection")));
  }

  /** Null: there is no such node. */
  async read(path: string): Promise<string | null> {
    const message = await this.#unlessAbsent(this.#request(XS.read, strings(path), `read ${path}`));
    return message === null ? null : message.payload.toString("utf8");
  }

  /** Makes the node, and what lies above it, where they are missing. */
  async write(path: string, value: string): Promise<void> {
    await this.#request(XS.write, Buffer.concat([strings(path), Buffer.from(value)]), `write ${path}`);
  }

  /** The node and all below it. That there is none is fine. */
  async remove(path: string): Promise<void> {
    await this.#unlessAbsent(this.#request(XS.rm, strings(path), `remove ${path}`));
  }

  /** Names of the nodes below. Null: there is no such node. */
  async list(path: string): Promise<string[] | null> {
    const message = await this.#unlessAbsent(this.#request(XS.directory, strings(path), `list ${path}`));
    return message === null ? null : wordsOf(message.payload);
  }

  /** Whether the domain is there and not being destroyed; one that has shut down still is. */
  async isIntroduced(domid: number): Promise<boolean> {
    const { payload } = await this.#request(XS.isDomainIntroduced, strings(String(domid)), `ask for domain ${domid}`);
    return wordsOf(payload)[0] === "T";
  }

  /**
   * `changed` is called once soon, as xenstored does, and then for each change at or below `path`; or, for
   * "@introduceDomain" and "@releaseDomain", whenever domains come and go.
   */
  async watch(path: string, changed: (path: string) => void): Promise<Watch> {
    this.#lastToken += 1;
    const token = String(this.#lastToken);
    this.#watches.set(token, changed);
    try {
      await this.#request(XS.watch, strings(path, token), `watch ${path}`);
    } catch (error) {
      this.#watches.delete(token);
      throw error;
    }
    return {
      close: async () => {
        if (!this.#watches.delete(token) || this.#gone !== null) return;
        await this.#request(XS.unwatch, strings(path, token), `unwatch ${path}`);
      },
    };
  }

  close(): void {
    this.#gone ??= lost("it was closed by this process");
    this.#failAll(this.#gone);
    this.#socket.destroy();
  }

  /** Whether the connection keeps the process alive, as it does at first. */
  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  #request(type: number, payload: Buffer, what: string): Promise<Message> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    if (payload.length > PAYLOAD_MAX) return Promise.reject(refused(what, "E2BIG"));
    this.#lastRequest = (this.#lastRequest + 1) >>> 0;
    const request = this.#lastRequest;
    return new Promise((answered, failed) => {
      const overdue = (): void => this.#end(lost(`no answer to ${what} within ${this.#timeoutMs} ms`));
      const timer = setTimeout(overdue, this.#timeoutMs);
      this.#waiting.set(request, { what, answered, failed, timer });
      this.#socket.write(encode(type, request, payload));
    });
  }

  #receive(chunk: Buffer): void {
    try {
      for (const message of this.#reader.push(chunk)) this.#take(message);
    } catch (error) {
      this.#end(lost(`it does not speak the protocol: ${messageOf(error)}`));
    }
  }

  #take(message: Message): void {
    if (message.type === XS.watchEvent) {
      const [path = "", token = ""] = wordsOf(message.payload);
      this.#watches.get(token)?.(path);
      return;
    }
    const waiting = this.#waiting.get(message.request);
    if (waiting === undefined) throw new RangeError(`an answer to request ${message.request}, which nobody made`);
    this.#waiting.delete(message.request);
    clearTimeout(waiting.timer);
    if (message.type === XS.error) waiting.failed(refused(waiting.what, wordsOf(message.payload)[0] ?? "EINVAL"));
    else waiting.answered(message);
  }

  #end(error: Error): void {
    if (this.#gone !== null) return;
    this.#gone = error;
    this.#failAll(error);
    this.#socket.destroy();
    this.#tellLost(error);
  }

  #failAll(error: Error): void {
    for (const { failed, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      failed(error);
    }
    this.#waiting.clear();
    this.#watches.clear();
  }

  async #unlessAbsent(request: Promise<Message>): Promise<Message | null> {
    try {
      return await request;
    } catch (error) {
      if (error instanceof IoreqdError && error.details["errno"] === "ENOENT") return null;
      throw error;
    }
  }
}

/** Source: Xen tools/libs/store/xs.c, xs_daemon_socket(). */
function socketPath(): string {
  const { XENSTORED_PATH: path, XENSTORED_RUNDIR: directory } = process.env;
  if (path !== undefined && path !== "") return path;
  if (directory !== undefined && directory !== "") return `${directory}/socket`;
  const places = ["/run/xenstored/socket", "/var/run/xenstored/socket"];
  return places.find((place) => existsSync(place)) ?? (places[0] as string);
}

function unreachable(path: string, error: Error): IoreqdError {
  const errno = (error as NodeJS.ErrnoException).code ?? error.message;
  const advice =
    errno === "EACCES" || errno === "EPERM"
      ? "not permitted: run as root"
      : "is this dom0, and does xenstored run? systemctl status xenstored, or xen on Debian";
  return new IoreqdError("XENSTORE_UNREACHABLE", `connect to xenstored at ${path}: ${errno} (${advice})`, {
    path,
    errno,
  });
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "not permitted: run as root in dom0",
  E2BIG: "the value or the path is too long",
  EINVAL: "xenstored does not take this",
  EQUOTA: "xenstored's quota is used up: its --entry-nb option raises it",
  ENOSPC: "xenstored's quota is used up",
  EROFS: "xenstored is read-only",
};

function refused(what: string, errno: string): IoreqdError {
  const reason = REASONS[errno];
  const message = `xenstore: ${what}: ${errno}${reason === undefined ? "" : ` (${reason})`}`;
  return new IoreqdError("XENSTORE_REFUSED", message, { errno });
}

function lost(why: string): IoreqdError {
  return new IoreqdError(
    "XENSTORE_LOST",
    `xenstored is lost: ${why}; it can't be started again on a running host, and guests that run go on without it`,
  );
}
