// SPDX-License-Identifier: MIT
/** A connection to xenstored: requests and their answers, however the stream is cut, and when it counts as lost. */

import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { messageOf } from "../base/errors.js";
import { lost, refused, unreachable } from "./errors.js";
import { encode, type Message, MessageReader, PAYLOAD_MAX, wordsOf, XS } from "./wire.js";

interface Waiting {
  readonly type: number;
  readonly what: string;
  readonly answered: (payload: Buffer) => void;
  readonly failed: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** Called with the words of each watch event: path, token. */
type OnEvent = (words: readonly string[]) => void;

export class Connection {
  /** Resolves when the connection ended without close(). */
  readonly lost: Promise<Error>;
  readonly #socket: Socket;
  readonly #timeoutMs: number;
  readonly #onEvent: OnEvent;
  readonly #reader = new MessageReader();
  readonly #waiting = new Map<number, Waiting>();
  #lastRequest = 0;
  #gone: Error | null = null;
  #tellLost: (error: Error) => void = () => {};

  /** Throws XENSTORE_UNREACHABLE. `onEvent` must not throw. */
  static async open(path: string | undefined, timeoutMs: number, onEvent: OnEvent): Promise<Connection> {
    const places = path === undefined ? socketPaths() : [path];
    const place = places.find((one) => existsSync(one)) ?? (places[0] as string);
    return new Promise((resolve, reject) => {
      const socket = connect(place);
      socket.once("error", (error) => reject(unreachable(existsSync(place) ? [place] : places, error)));
      socket.once("connect", () => {
        socket.removeAllListeners("error");
        resolve(new Connection(socket, timeoutMs, onEvent));
      });
    });
  }

  private constructor(socket: Socket, timeoutMs: number, onEvent: OnEvent) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    this.#onEvent = onEvent;
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve;
    });
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("error", (error) => this.#end(lost(messageOf(error))));
    socket.on("close", () => this.#end(lost("it closed the connection")));
  }

  get open(): boolean {
    return this.#gone === null;
  }

  /**
   * Returns the answer's payload. `what` names the call and its path, for errors.
   * Throws XENSTORE_REFUSED and XENSTORE_LOST.
   */
  request(type: number, payload: Buffer, what: string, transaction = 0): Promise<Buffer> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    if (payload.length > PAYLOAD_MAX) return Promise.reject(refused(what, "E2BIG"));
    this.#lastRequest = (this.#lastRequest + 1) >>> 0;
    const request = this.#lastRequest;
    return new Promise((answered, failed) => {
      const timer = setTimeout(() => this.#overdue(request), this.#timeoutMs);
      timer.unref(); // whether we wait is the socket's to say: see unref()
      this.#waiting.set(request, { type, what, answered, failed, timer });
      this.#socket.write(encode(type, request, payload, transaction));
    });
  }

  close(): void {
    this.#gone ??= lost("it was closed by this process");
    this.#failAll(this.#gone);
    this.#socket.destroy();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  /** After a time in which it was this process that stood still, the answer is there and only not yet read. */
  #overdue(request: number): void {
    setImmediate(() => {
      const waiting = this.#waiting.get(request);
      if (waiting !== undefined) this.#end(lost(`no answer to ${waiting.what} within ${this.#timeoutMs} ms`));
    });
  }

  #receive(chunk: Buffer): void {
    try {
      for (const message of this.#reader.push(chunk)) {
        if (this.#gone !== null) return;
        this.#take(message);
      }
    } catch (error) {
      this.#end(lost(`it does not speak the protocol: ${messageOf(error)}`));
    }
  }

  #take({ type, request, payload }: Message): void {
    if (type === XS.watchEvent) {
      this.#onEvent(wordsOf(payload));
      return;
    }
    const waiting = this.#waiting.get(request);
    if (waiting === undefined) throw new RangeError(`an answer to request ${request}, which nobody made`);
    if (type !== XS.error && type !== waiting.type) {
      throw new RangeError(`an answer of type ${type} to ${waiting.what}, which has type ${waiting.type}`);
    }
    this.#waiting.delete(request);
    clearTimeout(waiting.timer);
    if (type === XS.error) waiting.failed(refused(waiting.what, wordsOf(payload)[0] ?? "EINVAL"));
    else waiting.answered(payload);
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
  }
}

/** Where to look. Source: Xen tools/libs/store/xs.c, xs_daemon_socket(). */
function socketPaths(): readonly string[] {
  const { XENSTORED_PATH: path, XENSTORED_RUNDIR: directory } = process.env;
  if (path !== undefined && path !== "") return [path];
  if (directory !== undefined && directory !== "") return [`${directory}/socket`];
  return ["/run/xenstored/socket", "/var/run/xenstored/socket"];
}
